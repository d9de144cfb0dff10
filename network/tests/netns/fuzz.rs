//! Servers that send nonsense: nothing dies, and nothing is accepted beyond bounds.

use super::lab::{DHCP, Lab};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// A server that answers each DHCPv6 question with mutilated answers.
#[test]
fn a_dhcpv6_server_that_sends_nonsense_breaks_nothing() {
    use std::os::fd::AsFd;
    let Some(mut lab) = Lab::new("6f") else { return };
    let space = fs::File::open(Path::new("/run/netns").join(lab.space("s"))).unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        rustix::thread::move_into_link_name_space(space.as_fd(), Some(rustix::thread::LinkNameSpaceType::Network)).unwrap();
        let socket = std::net::UdpSocket::bind("[::]:547").unwrap();
        let index = rustix::net::netdevice::name_to_index(&socket, "up0").unwrap();
        socket.join_multicast_v6(&"ff02::1:2".parse().unwrap(), index).unwrap();
        let mut dice = Dice(0x6eed_5eed_5eed_5eed);
        let (mut question, mut sent) = ([0; 2048], 0);
        while let Ok((length, from)) = socket.recv_from(&mut question) {
            for _ in 0..200 {
                let mut answer = reply6(&question[..length], &mut dice);
                for _ in 0..dice.roll() % 4 {
                    let at = usize::from(dice.roll()) * 7 % answer.len();
                    answer[at] = dice.roll();
                }
                if dice.roll() < 40 {
                    answer.truncate(usize::from(dice.roll()));
                }
                let _ = socket.send_to(&answer, from);
                sent += 1;
            }
            let _ = sender.send(sent);
        }
    });
    let node = lab.node(r#"{"version":2,"ethernets":{"eth0":{"dhcp6":true}}}"#);
    let (start, mut rounds, mut seen) = (Instant::now(), 0, 0);
    while start.elapsed() < Duration::from_secs(8) && rounds < 25 {
        if let Ok(count) = receiver.recv_timeout(Duration::from_secs(1)) {
            (rounds, seen) = (rounds + 1, count);
        }
        assert!(lab.children[node].try_wait().unwrap().is_none(), "netd died\n{}", lab.read("log"));
        let addresses = lab.on("n", "ip -6 -o addr show eth0 scope global");
        assert!(addresses.lines().count() <= 1, "{addresses}");
        let resolv = lab.read("run/resolv.conf");
        assert!(resolv.lines().count() <= 5, "{resolv}");
        assert!(resolv.chars().all(|c| c == '\n' || (' '..='~').contains(&c)), "{resolv:?}");
    }
    println!("{seen} answers in {rounds} rounds");
    assert!(seen >= 200, "it was not asked\n{}", lab.read("log"));
}

/// An offer or a grant whose options have the right form and any content, or any length.
fn reply6(question: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = question[..4].to_vec();
    bytes[0] = [2, 7][usize::from(dice.roll() % 2)];
    bytes.extend([0, 1, 0, 10, 0, 3, 0, 1, 2, 0, 0, 0, 0, 1, 0, 2, 0, 4, 1, 2, 3, dice.roll() % 2]);
    let times = [0, 0, 0, dice.roll(), 0, 0, 0, dice.roll()];
    bytes.extend([0, 3, 0, 40, 0, 0, 0, 1].iter().chain(&times));
    bytes.extend([0, 5, 0, 24, 0xfd, 0x77]);
    bytes.extend([0; 13]);
    bytes.extend([dice.roll() % 3].iter().chain(&times));
    for _ in 0..dice.roll() % 12 {
        let kind = [3, 13, 14, 23, 24, 31, 32, 56, 82][usize::from(dice.roll() % 9)];
        let length = dice.roll() % 64;
        bytes.extend([0, kind, 0, length]);
        for _ in 0..length {
            bytes.push(dice.roll());
        }
    }
    bytes
}

/// Bits that look random, the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.to_le_bytes()[3]
    }
}

/// A server that answers each question with a flood of mutilated answers, some of which are grants, on a thread in namespace `s`.
fn fuzzing_server(lab: &Lab) -> std::sync::mpsc::Receiver<usize> {
    use std::os::fd::AsFd;
    let space = fs::File::open(Path::new("/run/netns").join(lab.space("s"))).unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        rustix::thread::move_into_link_name_space(space.as_fd(), Some(rustix::thread::LinkNameSpaceType::Network)).unwrap();
        let socket = std::net::UdpSocket::bind("0.0.0.0:67").unwrap();
        socket.set_broadcast(true).unwrap();
        let mut dice = Dice(0x5eed_5eed_5eed_5eed);
        let (mut question, mut sent) = ([0; 2048], 0);
        while let Ok((length, _)) = socket.recv_from(&mut question) {
            for _ in 0..400 {
                let mut answer = reply(&question[..length.max(240)], &mut dice);
                for _ in 0..dice.roll() % 6 {
                    let at = usize::from(dice.roll()) * 7 % answer.len();
                    answer[at] = dice.roll();
                }
                if dice.roll() < 40 {
                    answer.truncate(usize::from(dice.roll()) * 2);
                }
                let _ = socket.send_to(&answer, "255.255.255.255:68");
                sent += 1;
            }
            let _ = sender.send(sent);
        }
    });
    receiver
}

/// An offer or a grant whose options have the right form and any content, or any length.
fn reply(question: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = question[..240].to_vec();
    bytes[0] = 2;
    bytes[16..20].copy_from_slice(&[10, 77, dice.roll() % 2, dice.roll()]);
    bytes.extend([53, 1, [2, 5, 5, 6][usize::from(dice.roll() % 4)], 54, 4, 10, 77, 0, 1]);
    for _ in 0..dice.roll() % 12 {
        let kind = [1, 3, 6, 12, 15, 26, 42, 51, 58, 59, 80, 119, 121, 252][usize::from(dice.roll() % 14)];
        let length = dice.roll() % 64;
        bytes.extend([kind, length]);
        for _ in 0..length {
            bytes.push(dice.roll());
        }
    }
    bytes.push(255);
    bytes
}

#[test]
fn a_server_that_sends_nonsense_breaks_nothing() {
    let Some(mut lab) = Lab::new("f") else { return };
    lab.on("s", "ip route add 255.255.255.255 dev up0");
    let sent = fuzzing_server(&lab);
    let node = lab.node(DHCP);
    let (start, mut rounds, mut seen) = (Instant::now(), 0, 0);
    while start.elapsed() < Duration::from_secs(8) && rounds < 25 {
        if let Ok(count) = sent.recv_timeout(Duration::from_secs(1)) {
            (rounds, seen) = (rounds + 1, count);
        }
        assert!(lab.children[node].try_wait().unwrap().is_none(), "netd died\n{}", lab.read("log"));
        let addresses = lab.on("n", "ip -4 -o addr show eth0");
        assert!(addresses.lines().count() <= 1, "{addresses}");
        assert!(
            addresses.is_empty() || addresses.contains("inet 10.77.") || addresses.contains(" inet "),
            "{addresses}"
        );
        let routes = lab.on("n", "ip route");
        assert!(routes.lines().count() <= 128, "{routes}");
        let link = lab.on("n", "ip -o link show eth0");
        let mtu: u32 = link
            .split("mtu ")
            .nth(1)
            .and_then(|t| t.split(' ').next())
            .unwrap()
            .parse()
            .unwrap();
        assert!((1280..=9216).contains(&mtu), "{link}");
        let resolv = lab.read("run/resolv.conf");
        let lines = |key: &str| resolv.lines().filter(|l| l.starts_with(key)).count();
        assert!(
            lines("nameserver ") <= 3 && lines("search ") <= 1 && resolv.lines().count() <= 5,
            "{resolv}"
        );
        assert!(resolv.chars().all(|c| c == '\n' || (' '..='~').contains(&c)), "{resolv:?}");
    }
    println!("{seen} answers in {rounds} rounds");
    assert!(seen >= 400, "it was not asked\n{}", lab.read("log"));
}
