//! Getting from a server that behaves as servers do on bad days: a few lines on a socket, one script a request.
#![allow(clippy::unwrap_used, reason = "a test panics to fail")]
#![allow(clippy::disallowed_methods, reason = "a test's file need not survive a power cut")]
#![allow(clippy::semicolon_if_nothing_returned, reason = "each server is one sentence")]

use skerry_fetch::get::{Error, Request, get, get_file, unhex};
use skerry_fetch::program::{Done, Wanted, program};
use skerry_fetch::source::parse;
use skerry_fetch::wait::wait;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

/// Answers request after request with what `answer` says (request's text, request's number), one connection each: a whole answer that is
/// followed by another request has to say so (`Connection: close`). The requests are kept.
fn server(answer: impl Fn(&str, usize, &mut TcpStream) + Send + 'static) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate().take(50) {
            let mut stream = stream.unwrap();
            let mut text = Vec::new();
            let mut byte = [0];
            while !text.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
                text.push(byte[0]);
            }
            let text = String::from_utf8(text).unwrap().to_ascii_lowercase();
            kept.lock().unwrap().push(text.clone());
            answer(&text, number, &mut stream);
        }
    });
    (url, seen)
}

fn say(stream: &mut TcpStream, text: &str) {
    let _ = stream.write_all(text.as_bytes());
}

fn request(url: &str) -> Request {
    Request {
        pause: Duration::from_millis(5),
        patience: Duration::from_millis(500),
        ..Request::new(parse(url).unwrap())
    }
}

fn body(request: &Request) -> Result<String, Error> {
    let mut out = Vec::new();
    get(request, &mut out).map(|_| String::from_utf8(out).unwrap())
}

#[test]
fn a_good_answer_is_printed_and_its_digest_checked() {
    let (url, _) = server(|_, _, s| say(s, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"));
    assert_eq!(body(&request(&url)).unwrap(), "hello");
    assert_eq!(
        body(&Request {
            sha256: Some(unhex(HELLO).unwrap()),
            ..request(&url)
        })
        .unwrap(),
        "hello"
    );
    assert!(matches!(body(&Request { sha256: Some([0; 32]), ..request(&url) }), Err(Error::Digest(_, is)) if is == HELLO));
}

#[test]
fn too_much_is_refused_whether_announced_or_not() {
    let (url, _) = server(|_, _, s| say(s, "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"));
    assert!(matches!(body(&Request { max: 100, ..request(&url) }), Err(Error::TooLarge(_, 100))));
    let (url, _) = server(|_, _, s| {
        say(s, "HTTP/1.1 200 OK\r\n\r\n");
        while s.write_all(&[b'x'; 4096]).is_ok() {}
    });
    assert!(matches!(
        body(&Request {
            max: 1_000_000,
            tries: 3,
            ..request(&url)
        }),
        Err(Error::TooLarge(..))
    ));
}

#[test]
fn a_torn_answer_is_gone_on_with() {
    let (url, seen) = server(|text, number, s| match number {
        0 => say(s, "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: 5\r\n\r\nhe"),
        _ if text.contains("range: bytes=2-") => say(
            s,
            "HTTP/1.1 206 Partial\r\nETag: \"a\"\r\nContent-Range: bytes 2-4/5\r\nContent-Length: 3\r\n\r\nllo",
        ),
        _ => say(s, "HTTP/1.1 400 Bad\r\n\r\n"),
    });
    assert_eq!(
        body(&Request {
            tries: 3,
            sha256: Some(unhex(HELLO).unwrap()),
            ..request(&url)
        })
        .unwrap(),
        "hello"
    );
    assert!(seen.lock().unwrap()[1].contains("if-range: \"a\""));
    let (url, _) = server(|_, _, s| say(s, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"));
    assert!(matches!(body(&request(&url)), Err(Error::Way(..))), "one try only");
}

#[test]
fn a_server_without_ranges_sends_again_and_a_changed_file_is_noticed() {
    let (url, _) = server(|_, number, s| {
        say(
            s,
            if number == 0 {
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"
            } else {
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
            },
        )
    });
    assert_eq!(body(&Request { tries: 2, ..request(&url) }).unwrap(), "hello");
    let (url, _) = server(|_, number, s| say(s, &format!("HTTP/1.1 200 OK\r\nETag: \"{number}\"\r\nContent-Length: 5\r\n\r\nhe")));
    assert!(matches!(body(&Request { tries: 3, ..request(&url) }), Err(Error::Changed(_))));
    let (url, _) = server(|_, number, s| {
        say(
            s,
            if number == 0 {
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"
            } else {
                "HTTP/1.1 206 P\r\nContent-Range: bytes 0-4/5\r\nContent-Length: 5\r\n\r\nhello"
            },
        )
    });
    assert!(
        matches!(body(&Request { tries: 2, ..request(&url) }), Err(Error::Way(..))),
        "a part that was not asked for"
    );
}

#[test]
fn a_half_done_file_is_gone_on_with_by_the_next_run() {
    let dir = std::env::temp_dir().join(format!("fetch{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("it");
    let (url, _) = server(|text, number, s| match number {
        0 => say(s, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell"),
        _ if text.contains("range: bytes=4-") => say(s, "HTTP/1.1 206 P\r\nContent-Range: bytes 4-4/5\r\nContent-Length: 1\r\n\r\no"),
        _ => say(s, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad"),
    });
    let wanted = Request {
        sha256: Some(unhex(HELLO).unwrap()),
        ..request(&url)
    };
    assert!(get_file(&wanted, &path).is_err() && !path.exists());
    assert_eq!(get_file(&wanted, &path).unwrap(), 5);
    assert_eq!(std::fs::read(&path).unwrap(), b"hello");
    // Wrong bytes never get the name, and are not gone on with.
    assert!(matches!(get_file(&wanted, &dir.join("other")), Err(Error::Digest(..))));
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1);
    let copy = Request::new(parse(&format!("file://{}", path.display())).unwrap());
    assert_eq!(body(&copy).unwrap(), "hello");
    assert!(matches!(body(&Request { max: 4, ..copy }), Err(Error::TooLarge(..))));
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn redirects_are_followed_but_not_for_ever() {
    let (url, _) = server(|text, _, s| {
        say(
            s,
            if text.starts_with("get /there") {
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
            } else {
                "HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            },
        )
    });
    assert_eq!(body(&request(&url)).unwrap(), "ok");
    let (url, seen) = server(|_, _, s| {
        say(
            s,
            "HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        )
    });
    let error = body(&request(&url)).unwrap_err().to_string();
    assert!(error.contains("more than 5 redirects"), "{error}");
    assert!(seen.lock().unwrap().len() < 10);
}

#[test]
fn a_slow_server_is_left_and_a_busy_one_asked_again() {
    let (url, _) = server(|_, _, s| {
        say(s, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe");
        thread::sleep(Duration::from_secs(5));
    });
    let start = Instant::now();
    assert!(matches!(body(&request(&url)), Err(Error::Way(..))));
    assert!(start.elapsed() < Duration::from_secs(3));
    let (url, _) = server(|_, number, s| {
        say(
            s,
            if number < 2 {
                "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            } else {
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
            },
        )
    });
    assert_eq!(body(&Request { tries: 3, ..request(&url) }).unwrap(), "ok");
    let (url, seen) = server(|_, _, s| say(s, "HTTP/1.1 404 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"));
    assert!(matches!(body(&Request { tries: 3, ..request(&url) }), Err(Error::Status(_, status)) if status == 404));
    assert_eq!(seen.lock().unwrap().len(), 1, "no is no");
}

#[test]
fn waiting_ends_when_the_server_is_well() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let url = format!("http://{address}/healthz");
    let late = thread::spawn(move || {
        thread::sleep(Duration::from_millis(400));
        let listener = TcpListener::bind(address).unwrap();
        for status in ["500 Not yet", "200 OK"] {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]);
            say(&mut stream, &format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"));
        }
    });
    assert_eq!(wait(&url, false, Some(Duration::from_secs(10))), Ok(()));
    late.join().unwrap();
    let start = Instant::now();
    assert!(wait(&url, false, Some(Duration::from_millis(600))).unwrap_err().contains("refused"));
    assert!(
        wait(&url.replace("http", "https"), true, Some(Duration::from_millis(600)))
            .unwrap_err()
            .contains("nobody listens")
    );
    assert!(start.elapsed() < Duration::from_secs(3));
}

fn wanted(name: &str, url: Option<&str>, sha256: Option<&str>, sums: Option<&str>) -> Wanted {
    let folder = std::env::temp_dir().join(format!("skerry-program-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder); // of an earlier run
    Wanted {
        at: folder.join("v1/k3s"),
        url: url.map(str::to_owned),
        sha256: sha256.map(|hex| unhex(hex).unwrap()),
        sums: sums.map(str::to_owned),
        tries: 3,
        pause: Duration::from_millis(5),
    }
}

fn read(path: &std::path::Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn a_program_is_resumed_checked_and_kept_without_the_server() {
    let (url, seen) = server(|text, _, s| {
        if text.contains("range: bytes=2-") {
            let head = "HTTP/1.1 206 Partial\r\nETag: \"a\"\r\nContent-Range: bytes 2-4/5\r\nContent-Length: 3\r\n\r\n";
            say(s, &format!("{head}llo"));
        } else {
            say(s, "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: 5\r\n\r\nhe");
        }
    });
    let wanted = wanted("resumed", Some(&url), Some(HELLO), None);
    assert_eq!(program(&wanted), Ok(Done::Fetched(5, HELLO.to_owned())));
    let mode = std::fs::metadata(&wanted.at).unwrap().permissions().mode();
    assert_eq!((read(&wanted.at).as_str(), mode & 0o777), ("hello", 0o755));
    let asked = seen.lock().unwrap().len();
    assert_eq!(program(&wanted), Ok(Done::Kept));
    assert_eq!(seen.lock().unwrap().len(), asked, "nobody is asked for what is there");
    // Flash that forgets is noticed, and mended from the server.
    std::fs::write(&wanted.at, "hullo").unwrap();
    assert_eq!(program(&wanted), Ok(Done::Fetched(5, HELLO.to_owned())));
    assert_eq!(read(&wanted.at), "hello");
}

#[test]
fn another_program_is_refused_and_named() {
    let (url, _) = server(|_, _, s| say(s, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"));
    let other = "00".repeat(32);
    let wanted = wanted("other", Some(&url), Some(&other), None);
    let why = program(&wanted).unwrap_err();
    assert!(why.contains(&url) && why.contains(HELLO) && why.contains(&other), "{why}");
    assert!(!wanted.at.exists() && std::fs::read_dir(wanted.at.parent().unwrap()).unwrap().next().is_none());
    // By hand, and the wrong one.
    std::fs::write(&wanted.at, "hello").unwrap();
    let by_hand = Wanted { url: None, ..wanted };
    assert!(program(&by_hand).unwrap_err().contains("not the one expected"));
}

#[test]
fn the_published_digest_is_believed_once() {
    let (url, seen) = server(|text, _, s| {
        let body = if text.starts_with("get /sums") {
            format!("{HELLO}  k3s\n")
        } else {
            "hello".to_owned()
        };
        say(s, &format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    });
    let wanted = wanted(
        "published",
        Some(&format!("{url}/v1%2Bk3s1/k3s")),
        None,
        Some(&format!("{url}/sums.txt")),
    );
    assert_eq!(program(&wanted), Ok(Done::Fetched(5, HELLO.to_owned())));
    assert_eq!(read(&wanted.at.with_extension("sha256")), format!("{HELLO}  k3s\n"));
    assert_eq!(program(&wanted), Ok(Done::Kept));
    assert_eq!(seen.lock().unwrap().len(), 2);
    // A server that has changed its mind is not asked again: what was believed counts.
    std::fs::remove_file(&wanted.at).unwrap();
    let (liar, _) = server(|text, _, s| {
        let body = if text.starts_with("get /sums") {
            format!("{}  k3s\n", "11".repeat(32))
        } else {
            "olleh".to_owned()
        };
        say(s, &format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    });
    let again = Wanted {
        url: Some(format!("{liar}/k3s")),
        sums: Some(format!("{liar}/sums.txt")),
        ..wanted
    };
    assert!(program(&again).unwrap_err().contains("not the one expected"));
}

#[test]
fn a_program_that_is_missing_says_what_to_do_and_one_by_hand_is_run() {
    let wanted = wanted("missing", None, None, None);
    assert!(program(&wanted).unwrap_err().contains("put the program there"));
    std::fs::create_dir_all(wanted.at.parent().unwrap()).unwrap();
    std::fs::write(&wanted.at, "by hand").unwrap();
    assert_eq!(program(&wanted), Ok(Done::Kept));
    assert_ne!(std::fs::metadata(&wanted.at).unwrap().permissions().mode() & 0o111, 0);
}

#[test]
fn a_program_comes_by_the_proxy_of_the_environment() {
    let (proxy, seen) = server(|_, _, s| say(s, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"));
    let wanted = wanted("proxy", None, None, None);
    let done = std::process::Command::new(env!("CARGO_BIN_EXE_fetch"))
        .args(["program", "--url", "http://releases.invalid/k3s", "--sha256", HELLO, "--at"])
        .arg(&wanted.at)
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .env("http_proxy", &proxy)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success() && said.contains(HELLO), "{said}");
    assert_eq!(read(&wanted.at), "hello");
    assert!(seen.lock().unwrap()[0].starts_with("get http://releases.invalid/k3s "));
}
