//! The state machine's table, walked row by row, and random walks that it must survive.

use super::*;
use crate::dhcp6::message::Granted;
use proptest::prelude::*;
use std::net::Ipv6Addr;

const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const OWN: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x55);

const fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn message(kind: Kind, transaction: u32) -> Message {
    Message {
        kind,
        transaction,
        client: duid(MAC),
        server: vec![9],
        status: 0,
        rapid: false,
        renew: 500,
        rebind: 800,
        addresses: vec![Granted {
            ip: OWN,
            preferred: 1000,
            valid: 1000,
        }],
        dns: vec![],
        search: vec![],
        ntp: vec![],
        refresh: None,
    }
}

fn question(commands: &[Command]) -> &Question {
    match commands.iter().find(|c| matches!(c, Command::Send(_))) {
        Some(Command::Send(question)) => question,
        _ => panic!("no question in {commands:?}"),
    }
}

fn say(client: &mut Client, now: Duration, change: impl Fn(&mut Message), kind: Kind) -> Vec<Command> {
    let mut message = message(kind, client.transaction);
    change(&mut message);
    client.step(now, 5, Event::Heard(&message))
}

fn same(_: &mut Message) {}

/// A client that got a lease of 1000 s at second 0.
fn bound() -> Client {
    let mut client = Client::new(MAC, None);
    assert_eq!(question(&client.step(at(0), 9, Event::Link(true, Wish::Address))).ask, Ask::Solicit);
    let request = say(&mut client, at(0), same, Kind::Advertise);
    let request = question(&request);
    assert_eq!(
        (request.ask, request.address, request.server.as_deref()),
        (Ask::Request, Some(OWN), Some(&[9][..]))
    );
    assert_eq!(say(&mut client, at(0), same, Kind::Reply), [Command::Granted]);
    assert_eq!(client.lease().and_then(|l| l.address), Some(OWN));
    client
}

#[test]
fn the_first_question_is_sent_with_the_link_and_the_first_offer_is_taken() {
    let client = bound();
    assert_eq!((client.is_listening(), client.deadline()), (false, Some(at(500))));
}

/// A new start of `netd` does not take the address away before a server has said anything.
#[test]
fn an_address_that_is_on_the_interface_counts_until_it_is_refused() {
    let mut client = Client::holding(MAC, None, OWN, at(0));
    assert_eq!(client.lease().and_then(|l| l.address), Some(OWN));
    let commands = client.step(at(0), 9, Event::Link(true, Wish::Address));
    assert_eq!((question(&commands).ask, question(&commands).address), (Ask::Rebind, Some(OWN)));
    assert_eq!(client.lease().and_then(|l| l.address), Some(OWN));
    let mut silent = client.clone();
    while silent.lease().is_some() {
        let next = silent.deadline().unwrap();
        assert!(next <= at(700), "{next:?}");
        silent.step(next, 9, Event::Tick);
    }
    assert_eq!(say(&mut client, at(0), same, Kind::Reply), [Command::Granted]);
}

#[test]
fn a_server_may_grant_at_once() {
    let mut client = Client::new(MAC, None);
    client.step(at(0), 9, Event::Link(true, Wish::Address));
    assert!(say(&mut client, at(0), same, Kind::Reply).is_empty(), "it must say that it does");
    assert_eq!(say(&mut client, at(0), |m| m.rapid = true, Kind::Reply), [Command::Granted]);
}

#[test]
fn silence_makes_it_slower_but_never_stop() {
    for (wish, ask) in [(Wish::Address, Ask::Solicit), (Wish::Information, Ask::Information)] {
        let mut client = Client::new(MAC, None);
        client.step(at(0), 0, Event::Link(true, wish));
        let mut last = at(0);
        for round in 0..20 {
            let next = client.deadline().unwrap();
            assert!(next.saturating_sub(last) <= at(1024), "{round}: {:?}", next.saturating_sub(last));
            assert_eq!(question(&client.step(next, 0, Event::Tick)).ask, ask);
            last = next;
        }
        assert!(client.deadline().unwrap().saturating_sub(last) >= at(800));
    }
}

#[test]
fn a_lease_is_renewed_then_rebound_then_lost() {
    let mut client = bound();
    let renew = client.step(at(500), 7, Event::Tick);
    assert_eq!(
        (question(&renew).ask, question(&renew).server.as_deref()),
        (Ask::Renew, Some(&[9][..]))
    );
    let mut renewed = client.clone();
    assert_eq!(say(&mut renewed, at(501), same, Kind::Reply), [Command::Granted]);
    assert_eq!(renewed.deadline(), Some(at(1000)), "counted from the question");
    let mut asked = vec![];
    let lost = loop {
        let now = client.deadline().unwrap();
        let commands = client.step(now, 7, Event::Tick);
        if matches!(commands.first(), Some(Command::Lost(_))) {
            break (now, question(&commands).ask);
        }
        asked.push((now, question(&commands).ask));
    };
    assert_eq!(lost, (at(1000), Ask::Solicit));
    assert!(
        asked.iter().all(|(now, ask)| (*ask == Ask::Rebind) == (*now >= at(800))),
        "{asked:?}"
    );
    assert_eq!(client.lease(), None);
}

#[test]
fn what_is_refused_is_lost_and_asked_for_anew_but_not_in_a_hurry() {
    for change in [
        (|m| m.status = 3) as fn(&mut Message),
        |m| m.addresses.clear(),
        |m| m.addresses[0].valid = 0,
        |m| m.addresses[0].ip = Ipv6Addr::LOCALHOST,
    ] {
        let mut client = bound();
        client.step(at(500), 7, Event::Tick);
        let commands = say(&mut client, at(500), change, Kind::Reply);
        assert!(matches!(commands[0], Command::Lost(_)) && question(&commands).ask == Ask::Solicit);
        say(&mut client, at(500), same, Kind::Advertise);
        assert!(
            say(&mut client, at(500), change, Kind::Reply).is_empty(),
            "the second time it waits"
        );
        assert!(client.deadline().unwrap() > at(500));
    }
}

#[test]
fn a_link_that_breaks_keeps_the_lease_and_confirms_it() {
    let mut client = bound();
    assert!(client.step(at(10), 1, Event::Link(false, Wish::Address)).is_empty());
    assert_eq!((client.deadline(), client.lease().is_some()), (None, true));
    assert!(client.step(at(5000), 1, Event::Tick).is_empty());
    let commands = client.step(at(20), 1, Event::Link(true, Wish::Address));
    assert_eq!((question(&commands).ask, question(&commands).address), (Ask::Rebind, Some(OWN)));
    assert_eq!(say(&mut client, at(20), same, Kind::Reply), [Command::Granted]);
    assert!(
        client.step(at(21), 1, Event::Link(true, Wish::Address)).is_empty(),
        "nothing has changed"
    );
}

#[test]
fn information_is_asked_for_again_after_a_day() {
    let mut client = Client::new(MAC, None);
    assert_eq!(
        question(&client.step(at(0), 1, Event::Link(true, Wish::Information))).ask,
        Ask::Information
    );
    assert_eq!(say(&mut client, at(0), same, Kind::Reply), [Command::Granted]);
    assert_eq!(client.lease().unwrap().address, None);
    assert_eq!(client.deadline(), Some(at(86_400)));
    assert_eq!(question(&client.step(at(86_400), 1, Event::Tick)).ask, Ask::Information);
    assert!(client.lease().is_some(), "what is known counts until it is told anew");
}

#[test]
fn another_wish_begins_anew() {
    let mut client = bound();
    let commands = client.step(at(1), 1, Event::Link(true, Wish::Information));
    assert!(matches!(commands[0], Command::Lost(_)) && question(&commands).ask == Ask::Information);
    assert!(client.step(at(2), 1, Event::Link(true, Wish::Nothing)).is_empty());
    assert_eq!(
        (client.lease(), client.deadline().is_some() && client.is_listening()),
        (None, false)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever comes in whatever order: no panic, one question at most for each step, and never a deadline that has passed already
    /// after a tick, which would be a busy loop.
    #[test]
    fn random_walks(steps in proptest::collection::vec((0u8..6, any::<u32>(), 0u64..4000), 1..80)) {
        let mut client = Client::new(MAC, Some("rock".into()));
        let mut now = at(0);
        for (what, random, pass) in steps {
            now += at(pass);
            let mut said = message(if random & 1 == 0 { Kind::Advertise } else { Kind::Reply }, client.transaction);
            said.rapid = random & 2 == 0;
            said.status = u16::from(random & 0b1100 == 0);
            said.addresses[0].valid = random >> 8 & 0xfff;
            said.renew = random >> 4 & 0xff;
            said.rebind = random >> 12 & 0x1ff;
            let wish = [Wish::Nothing, Wish::Information, Wish::Address][(random >> 20) as usize % 3];
            let commands = match what {
                0 => client.step(now, random, Event::Link(random & 64 == 0, wish)),
                1 => client.step(now, random, Event::Link(true, Wish::Address)),
                2 | 3 => client.step(now, random, Event::Heard(&said)),
                _ => client.step(now, random, Event::Tick),
            };
            prop_assert!(commands.iter().filter(|c| matches!(c, Command::Send(_))).count() <= 1);
            if what > 3 {
                prop_assert!(client.deadline().is_none_or(|next| next > now), "{client:?}");
            }
        }
    }
}
