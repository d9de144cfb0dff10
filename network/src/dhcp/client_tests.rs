//! The state machine's table, walked row by row, and random walks that it must survive.

use super::*;
use proptest::prelude::*;

const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);

const fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn message(kind: Kind, transaction: u32) -> Message {
    Message {
        kind: Some(kind),
        transaction,
        mac: Some(MAC.0),
        your_ip: Some(OWN),
        server: Some(SERVER),
        subnet_mask: Some(Ipv4Addr::new(255, 255, 255, 0)),
        seconds: Some(1000),
        ..Message::default()
    }
}

fn question(commands: &[Command]) -> &Question {
    match commands.iter().find(|c| matches!(c, Command::Broadcast(_) | Command::Unicast(..))) {
        Some(Command::Broadcast(question) | Command::Unicast(question, _)) => question,
        _ => panic!("no question in {commands:?}"),
    }
}

fn say(client: &mut Client, now: Duration, kind: Kind) -> Vec<Command> {
    let transaction = client.transaction;
    client.step(now, 5, Event::Heard(&message(kind, transaction)))
}

/// A client that got a lease of 1000 s at second 0.
fn bound() -> Client {
    let mut client = Client::new(MAC, None, None);
    assert_eq!(question(&client.step(at(0), 9, Event::Carrier(true))).kind, Kind::Discover);
    let request = say(&mut client, at(0), Kind::Offer);
    assert_eq!((question(&request).wish, question(&request).server), (Some(OWN), Some(SERVER)));
    assert_eq!(say(&mut client, at(0), Kind::Ack), [Command::Granted]);
    assert_eq!(client.lease().and_then(Lease::ip), Some(OWN));
    client
}

#[test]
fn the_first_question_is_sent_with_the_carrier_and_the_first_offer_is_taken() {
    let client = bound();
    assert_eq!((client.state(), client.is_listening()), ("bound", false));
    assert_eq!(client.deadline(), Some(at(500)));
}

/// A new start of `netd` does not take the address away before a server has said anything.
#[test]
fn a_lease_that_is_on_the_interface_counts_until_it_is_refused() {
    let held = bound().lease().unwrap().clone();
    let mut client = Client::holding(MAC, None, held.clone(), at(0));
    assert_eq!(client.lease(), Some(&held));
    let commands = client.step(at(0), 9, Event::Carrier(true));
    assert_eq!((question(&commands).kind, question(&commands).wish), (Kind::Request, Some(OWN)));
    assert_eq!(client.lease(), Some(&held));
    let mut refused = client.clone();
    assert!(matches!(say(&mut refused, at(0), Kind::Nak)[0], Command::Lost(_)));
    assert_eq!(say(&mut client, at(0), Kind::Ack), [Command::Granted]);
}

#[test]
fn silence_makes_it_slower_but_never_stop() {
    let mut client = Client::new(MAC, None, None);
    client.step(at(0), 0, Event::Carrier(true));
    let mut waits = Vec::new();
    for _ in 0..9 {
        let deadline = client.deadline().unwrap();
        waits.push(deadline.saturating_sub(client.asked).as_millis());
        assert!(
            client
                .step(deadline.saturating_sub(Duration::from_millis(1)), 0, Event::Tick)
                .is_empty()
        );
        assert_eq!(question(&client.step(deadline, 0, Event::Tick)).kind, Kind::Discover);
    }
    assert_eq!(waits, [875, 1750, 3500, 7000, 14000, 28000, 56000, 56000, 56000]);
}

#[test]
fn a_request_without_an_answer_goes_back_to_the_beginning_after_three() {
    let mut client = Client::new(MAC, None, None);
    client.step(at(0), 0, Event::Carrier(true));
    say(&mut client, at(0), Kind::Offer);
    for _ in 0..2 {
        let now = client.deadline().unwrap();
        assert_eq!(question(&client.step(now, 0, Event::Tick)).kind, Kind::Request);
    }
    let now = client.deadline().unwrap();
    assert_eq!(question(&client.step(now, 0, Event::Tick)).kind, Kind::Discover);
}

#[test]
fn a_lease_is_renewed_then_rebound_then_lost() {
    let mut client = bound();
    let renew = client.step(at(500), 7, Event::Tick);
    assert!(matches!(
        renew.as_slice(),
        [Command::Unicast(
            Question {
                own: Some(OWN),
                wish: None,
                server: None,
                ..
            },
            SERVER
        )]
    ));
    assert_eq!(client.state(), "renewing");
    let mut seen = vec![];
    while client.lease().is_some() {
        let now = client.deadline().unwrap();
        let commands = client.step(now, 7, Event::Tick);
        seen.push((now.as_secs(), client.state(), commands.len()));
    }
    assert_eq!(
        seen,
        [
            (687, "renewing", 1),
            (781, "renewing", 1),
            (841, "renewing", 1),
            (875, "rebinding", 1),
            (937, "rebinding", 1),
            (997, "rebinding", 1),
            (1000, "selecting", 2)
        ]
    );
}

#[test]
fn an_answer_while_renewing_prolongs_from_the_moment_of_asking() {
    let mut client = bound();
    client.step(at(500), 7, Event::Tick);
    assert_eq!(say(&mut client, at(503), Kind::Ack), [Command::Granted]);
    assert_eq!(client.deadline(), Some(at(1000)));
}

#[test]
fn a_refusal_while_renewing_loses_the_lease_at_once() {
    let mut client = bound();
    client.step(at(500), 7, Event::Tick);
    let commands = say(&mut client, at(501), Kind::Nak);
    assert!(matches!(commands.as_slice(), [Command::Lost(_), Command::Broadcast(q)] if q.kind == Kind::Discover));
}

#[test]
fn a_server_that_always_refuses_is_asked_ever_more_slowly() {
    let mut client = Client::new(MAC, None, None);
    client.step(at(0), 0, Event::Carrier(true));
    let mut now = at(0);
    let mut asked = 0;
    while now < at(600) {
        say(&mut client, now, Kind::Offer);
        say(&mut client, now, Kind::Nak);
        asked += 1;
        now = client.deadline().unwrap();
        client.step(now, 0, Event::Tick);
    }
    assert!(asked < 20, "{asked}");
}

#[test]
fn a_remembered_lease_is_asked_for_first_and_forgotten_when_nobody_knows_it() {
    let lease = bound().lease().cloned();
    let mut client = Client::new(MAC, None, lease.clone());
    let first = client.step(at(0), 3, Event::Carrier(true));
    assert!(matches!(
        first.as_slice(),
        [Command::Broadcast(Question {
            kind: Kind::Request,
            wish: Some(OWN),
            server: None,
            own: None,
            ..
        })]
    ));
    assert_eq!(client.lease(), None, "not ours until the server says so");
    assert_eq!(say(&mut client, at(0), Kind::Ack), [Command::Granted]);

    let mut silent = Client::new(MAC, None, lease);
    silent.step(at(0), 3, Event::Carrier(true));
    let mut last = Vec::new();
    for _ in 0..2 {
        let now = silent.deadline().unwrap();
        last = silent.step(now, 3, Event::Tick);
    }
    assert_eq!(question(&last).kind, Kind::Discover);
    assert!(silent.asked < at(2), "{:?}", silent.asked);
}

#[test]
fn a_lost_carrier_keeps_the_lease_and_its_return_confirms_it() {
    let mut client = bound();
    assert!(client.step(at(10), 0, Event::Carrier(false)).is_empty());
    assert_eq!(client.deadline(), None);
    assert!(
        client.step(at(5000), 0, Event::Tick).is_empty() && client.lease().is_some(),
        "kept beyond its end"
    );
    let back = client.step(at(5001), 4, Event::Carrier(true));
    assert_eq!((question(&back).wish, client.lease().is_some()), (Some(OWN), true));
    let mut lost = false;
    for _ in 0..2 {
        let now = client.deadline().unwrap();
        lost |= client.step(now, 4, Event::Tick).iter().any(|c| matches!(c, Command::Lost(_)));
    }
    assert!(lost, "its time is over and nobody confirms it");
}

#[test]
fn a_short_break_without_an_answer_goes_on_with_the_lease() {
    let mut client = bound();
    client.step(at(10), 0, Event::Carrier(false));
    client.step(at(12), 4, Event::Carrier(true));
    for _ in 0..2 {
        let now = client.deadline().unwrap();
        assert!(client.step(now, 4, Event::Tick).iter().all(|c| !matches!(c, Command::Lost(_))));
    }
    assert_eq!((client.state(), client.deadline()), ("bound", Some(at(500))));
}

#[test]
fn messages_for_others_are_not_heard() {
    let mut client = Client::new(MAC, None, None);
    client.step(at(0), 9, Event::Carrier(true));
    let other_transaction = message(Kind::Offer, 8);
    let other_machine = Message {
        mac: Some([2, 0, 0, 0, 0, 2]),
        ..message(Kind::Offer, 9)
    };
    let no_server = Message {
        server: None,
        ..message(Kind::Offer, 9)
    };
    let uncalled = message(Kind::Ack, 9);
    for strange in [other_transaction, other_machine, no_server, uncalled] {
        assert!(client.step(at(1), 9, Event::Heard(&strange)).is_empty(), "{strange:?}");
    }
    let rapid = Message {
        rapid: true,
        ..message(Kind::Ack, 9)
    };
    assert_eq!(client.step(at(1), 9, Event::Heard(&rapid)), [Command::Granted]);
}

#[derive(Debug, Clone)]
enum Move {
    Wait(u16),
    Deadline,
    Carrier(bool),
    Heard(u8, u32, Option<u32>, Option<u32>, [u8; 4]),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        any::<u16>().prop_map(Move::Wait),
        Just(Move::Deadline),
        Just(Move::Deadline),
        any::<bool>().prop_map(Move::Carrier),
        (0..3_u8, any::<u32>(), any::<Option<u32>>(), any::<Option<u32>>(), any::<[u8; 4]>())
            .prop_map(|(kind, seconds, renew, rebind, ip)| Move::Heard(kind, seconds, renew, rebind, ip)),
    ];
    proptest::collection::vec(one, 0..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    /// Whatever servers say and whenever: no panic, a carrier always leads to another try, the line is never kept busy, and a lease in
    /// force is always one that a host can have.
    #[test]
    fn any_walk_goes_on(walk in moves(), random: u32) {
        let mut client = Client::new(MAC, Some("node".into()), None);
        let (mut now, mut carrier) = (Duration::ZERO, false);
        for step in walk {
            let before = client.asked;
            let commands = match step {
                Move::Wait(seconds) => {
                    now += at(u64::from(seconds));
                    client.step(now, random, Event::Tick)
                }
                Move::Deadline => {
                    now = client.deadline().map_or(now, |deadline| deadline.max(now));
                    client.step(now, random, Event::Tick)
                }
                Move::Carrier(on) => {
                    carrier = on;
                    client.step(now, random, Event::Carrier(on))
                }
                Move::Heard(kind, seconds, renew, rebind, ip) => {
                    let kind = [Kind::Offer, Kind::Ack, Kind::Nak][usize::from(kind)];
                    let message = Message { seconds: Some(seconds), renew, rebind, your_ip: Some(ip.into()), ..message(kind, client.transaction) };
                    client.step(now, random, Event::Heard(&message))
                }
            };
            prop_assert!(commands.len() <= 2);
            if let Some(lease) = client.lease() {
                prop_assert!(lease.seconds >= 60 && lease.renew <= lease.rebind && lease.rebind <= lease.seconds);
                prop_assert!(lease.ip().is_some_and(|ip| !ip.is_unspecified() && !ip.is_loopback() && !ip.is_multicast()));
            }
            if carrier {
                prop_assert!(client.deadline().is_some() || client.lease().is_some_and(Lease::is_forever), "{}", client.state());
                if commands.is_empty() { prop_assert_eq!(before, client.asked); }
            } else {
                prop_assert_eq!(client.deadline(), None);
            }
        }
    }
}
