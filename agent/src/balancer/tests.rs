//! Bytes through real sockets.

use super::*;
use std::net::Ipv4Addr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Says its own name to whoever connects, then gives back what it hears.
async fn server(name: &'static str) -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let task = tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            connections.spawn(async move {
                stream.write_all(name.as_bytes()).await.unwrap();
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    (address, task)
}

async fn said(stream: &mut TcpStream) -> String {
    let mut bytes = [0; 64];
    let n = stream.read(&mut bytes).await.unwrap_or(0);
    String::from_utf8_lossy(&bytes[..n]).into_owned()
}

fn list(addresses: &[&str]) -> Servers {
    Servers {
        servers: addresses.iter().map(|&a| a.to_owned()).collect(),
        given: vec![],
    }
}

async fn balancer(pool: &Pool) -> SocketAddr {
    let listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, pool.clone()));
    address
}

#[tokio::test]
async fn another_server_takes_over() {
    let (a, task) = server("a").await;
    let pool = Pool::new("w1", list(&[&a]));
    let at = balancer(&pool).await;
    let mut first = TcpStream::connect(at).await.unwrap();
    assert_eq!(said(&mut first).await, "a");
    first.write_all(b"there and back").await.unwrap();
    assert_eq!(said(&mut first).await, "there and back");

    let (b, _task) = server("b").await;
    pool.renew(list(&[&a, &b]));
    task.abort();
    let _ = task.await;
    assert_eq!(said(&mut first).await, "", "its end is seen");
    for _ in 0..3 {
        let mut next = TcpStream::connect(at).await.unwrap();
        assert_eq!(said(&mut next).await, "b");
    }
}

/// A server that lost its power does not close anything.
#[tokio::test]
async fn connections_to_a_silent_server_are_cut() {
    let (a, _task) = server("a").await;
    let pool = Pool::new("w1", list(&[&a]));
    let at = balancer(&pool).await;
    let mut open = TcpStream::connect(at).await.unwrap();
    assert_eq!(said(&mut open).await, "a");
    pool.heard(&a, Err("silence".into()));
    open.write_all(b"still").await.unwrap();
    assert_eq!(said(&mut open).await, "still", "one lost answer cuts nothing");
    pool.heard(&a, Err("silence".into()));
    assert_eq!(said(&mut open).await, "");
    // It is the only one: it is still tried.
    let mut next = TcpStream::connect(at).await.unwrap();
    assert_eq!(said(&mut next).await, "a");
}

#[tokio::test]
async fn nobody_answers() {
    let pool = Pool::new("w1", list(&["127.0.0.1:1"]));
    let mut client = TcpStream::connect(balancer(&pool).await).await.unwrap();
    assert_eq!(said(&mut client).await, "");
}
