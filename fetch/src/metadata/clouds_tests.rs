//! Each cloud against a stand-in that speaks its documented protocol, and nothing else.

use super::*;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};

/// What a stand-in answers: method and path → what is demanded of the headers, status and body.
type Answers = BTreeMap<&'static str, (&'static str, u16, String)>;

fn stand_in(answers: Answers) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            let is_privileged = stream.peer_addr().unwrap().port() < 1024;
            let mut lines = BufReader::new(&stream).lines().map(Result::unwrap);
            let first = lines.next().unwrap_or_default();
            let question = first.rsplit_once(' ').unwrap().0.to_owned();
            let headers: Vec<String> = lines.take_while(|l| !l.is_empty()).map(|l| l.to_ascii_lowercase()).collect();
            let (status, body) = match answers.get(question.as_str()) {
                Some(("privileged", ..)) if !is_privileged => (403, String::new()),
                Some((demanded, ..)) if !matches!(*demanded, "" | "privileged") && !headers.iter().any(|h| h == demanded) => {
                    (401, String::new())
                }
                Some((_, status, body)) => (*status, body.clone()),
                None => (404, "not here".to_owned()),
            };
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let _ = (&stream).write_all(answer.as_bytes());
        }
    });
    address
}

fn says(name: &str, answers: &[(&'static str, &'static str, u16, &str)]) -> Result<Metadata, Error> {
    let answers = answers
        .iter()
        .map(|(question, demanded, status, body)| (*question, (*demanded, *status, (*body).to_owned())))
        .collect();
    let cloud = CLOUDS.iter().find(|cloud| cloud.name == name).unwrap();
    super::super::one(cloud, Some(stand_in(answers)), Instant::now() + Duration::from_secs(20))
}

fn check(metadata: &Metadata, hostname: &str, counts: bool, keys: &[&str], user_data: Option<&str>) {
    assert_eq!(metadata.hostname.as_deref(), Some(hostname), "{metadata:?}");
    assert_eq!(metadata.hostname_counts, counts);
    assert_eq!(metadata.keys, keys);
    assert_eq!(metadata.user_data.as_deref(), user_data.map(str::as_bytes));
}

#[test]
fn aws_with_a_token_and_without() {
    let token = "x-aws-ec2-metadata-token: abc==";
    let answers = |demanded| {
        [
            ("GET /latest/meta-data/local-hostname", demanded, 200, "ip-10-0-0-5.ec2.internal\n"),
            ("GET /latest/meta-data/public-keys/", demanded, 200, "0=first\n1=second"),
            (
                "GET /latest/meta-data/public-keys/0/openssh-key",
                demanded,
                200,
                "ssh-rsa AAAA first\n",
            ),
            (
                "GET /latest/meta-data/public-keys/1/openssh-key",
                demanded,
                200,
                "ssh-ed25519 BBBB second",
            ),
            ("GET /latest/user-data", demanded, 200, "#cloud-config\nhostname: x\n"),
        ]
    };
    let expected = |metadata: &Metadata| {
        check(
            metadata,
            "ip-10-0-0-5.ec2.internal",
            true,
            &["ssh-rsa AAAA first", "ssh-ed25519 BBBB second"],
            Some("#cloud-config\nhostname: x\n"),
        );
    };
    let asked = ("PUT /latest/api/token", "x-aws-ec2-metadata-token-ttl-seconds: 300", 200, "abc==");
    expected(&says("aws", &[&[asked][..], &answers(token)].concat()).unwrap());
    expected(&says("aws", &answers("")).unwrap());
    // Metadata is switched off.
    let off = says("aws", &[("PUT /latest/api/token", "", 403, "")]);
    assert!(off.unwrap_err().to_string().ends_with("the server answers 403"));
    // No keys and no user data are no fault.
    let bare = says("aws", &[("GET /latest/meta-data/local-hostname", "", 200, "a")]).unwrap();
    check(&bare, "a", true, &[], None);
}

#[test]
fn gcp() {
    const FLAVOR: &str = "metadata-flavor: google";
    let said = says(
        "gcp",
        &[
            ("GET /computeMetadata/v1/instance/hostname", FLAVOR, 200, "n1.c.project.internal"),
            (
                "GET /computeMetadata/v1/instance/attributes/ssh-keys",
                FLAVOR,
                200,
                "ann:ssh-rsa AAAA ann\nbob:ssh-rsa BBBB bob",
            ),
            (
                "GET /computeMetadata/v1/project/attributes/ssh-keys",
                FLAVOR,
                200,
                "eve:ssh-rsa CCCC eve",
            ),
            ("GET /computeMetadata/v1/instance/attributes/user-data", FLAVOR, 200, "#!/bin/sh\n"),
        ],
    );
    let keys = ["ssh-rsa AAAA ann", "ssh-rsa BBBB bob", "ssh-rsa CCCC eve"];
    check(&said.unwrap(), "n1.c.project.internal", false, &keys, Some("#!/bin/sh\n"));
    let blocked = says(
        "gcp",
        &[
            ("GET /computeMetadata/v1/instance/hostname", FLAVOR, 200, "n1"),
            (
                "GET /computeMetadata/v1/instance/attributes/block-project-ssh-keys",
                FLAVOR,
                200,
                "TRUE",
            ),
            (
                "GET /computeMetadata/v1/project/attributes/ssh-keys",
                FLAVOR,
                200,
                "eve:ssh-rsa CCCC eve",
            ),
        ],
    );
    check(&blocked.unwrap(), "n1", false, &[], None);
}

#[test]
fn azure() {
    let document = r#"{"compute":{"name":"vm1","osProfile":{"computerName":"edge-1"},"userData":"I2Nsb3VkLWNvbmZpZwo=",
        "publicKeys":[{"keyData":"ssh-rsa AAAA me\r\n","path":"/home/me/.ssh/authorized_keys"}]}}"#;
    let question = "GET /metadata/instance?api-version=2021-02-01&format=json";
    let said = says("azure", &[(question, "metadata: true", 200, document)]).unwrap();
    check(&said, "edge-1", false, &["ssh-rsa AAAA me"], Some("#cloud-config\n"));
    assert!(says("azure", &[(question, "metadata: true", 200, r#"{"compute":{"userData":"!"}}"#)]).is_err());
}

#[test]
fn openstack() {
    let document = r#"{"uuid":"u","hostname":"edge.novalocal","public_keys":{"a":"ssh-rsa AAAA a\n","b":"ssh-rsa BBBB b"}}"#;
    let said = says(
        "openstack",
        &[
            ("GET /openstack/latest/meta_data.json", "", 200, document),
            ("GET /openstack/latest/user_data", "", 200, "hostname: x\n"),
        ],
    );
    check(
        &said.unwrap(),
        "edge.novalocal",
        true,
        &["ssh-rsa AAAA a", "ssh-rsa BBBB b"],
        Some("hostname: x\n"),
    );
    assert!(says("openstack", &[("GET /openstack/latest/meta_data.json", "", 200, "<html>")]).is_err());
}

#[test]
fn the_ones_of_a_few_texts() {
    let keys = ["ssh-rsa AAAA a", "ssh-rsa BBBB b"];
    let said = says(
        "digitalocean",
        &[
            ("GET /metadata/v1/hostname", "", 200, "edge"),
            ("GET /metadata/v1/public-keys", "", 200, "ssh-rsa AAAA a\nssh-rsa BBBB b\n"),
            ("GET /metadata/v1/user-data", "", 200, "u"),
        ],
    );
    check(&said.unwrap(), "edge", false, &keys, Some("u"));
    let said = says(
        "hetzner",
        &[
            ("GET /hetzner/v1/metadata/hostname", "", 200, "edge"),
            (
                "GET /hetzner/v1/metadata/public-keys",
                "",
                200,
                r#"["ssh-rsa AAAA a","ssh-rsa BBBB b"]"#,
            ),
            ("GET /hetzner/v1/userdata", "", 200, "u"),
        ],
    );
    check(&said.unwrap(), "edge", false, &keys, Some("u"));
    let said = says(
        "vultr",
        &[
            ("GET /v1/hostname", "", 200, "edge"),
            ("GET /v1/public-keys", "", 200, "ssh-rsa AAAA a\nssh-rsa BBBB b\n"),
            ("GET /latest/user-data", "", 200, "u"),
        ],
    );
    check(&said.unwrap(), "edge", false, &keys, Some("u"));
    for name in ["digitalocean", "hetzner", "vultr", "openstack", "scaleway", "azure"] {
        assert!(says(name, &[]).is_err(), "{name}: another cloud's server is not this one's");
    }
}

/// Needs a port below 1024: root.
#[test]
fn scaleway_gives_user_data_to_root() {
    let document = r#"{"hostname":"edge","ssh_public_keys":[{"key":"ssh-rsa AAAA a","fingerprint":"x"}]}"#;
    let said = says(
        "scaleway",
        &[
            ("GET /conf?format=json", "", 200, document),
            ("GET /user_data/cloud-init", "privileged", 200, "u"),
        ],
    );
    match said {
        Err(error) if error.to_string().contains("Permission denied") => {}
        said => check(&said.unwrap(), "edge", false, &["ssh-rsa AAAA a"], Some("u")),
    }
}

#[test]
fn equinix_metal() {
    let document = br#"{"id":"i","hostname":"edge","ssh_keys":["ssh-rsa AAAA a"]}"#;
    let said = equinix(document).unwrap();
    check(&said, "edge", false, &["ssh-rsa AAAA a"], None);
    assert_eq!(equinix(b"nonsense"), None);
}

#[test]
fn names_and_keys_of_a_server_that_lies_are_left_out() {
    let said = says(
        "digitalocean",
        &[
            ("GET /metadata/v1/hostname", "", 200, "a b; reboot"),
            (
                "GET /metadata/v1/public-keys",
                "",
                200,
                "ssh-rsa AAAA \u{1b}[2Ja\n# no key\n\nssh-rsa BBBB b",
            ),
        ],
    );
    let said = said.unwrap();
    assert_eq!((said.hostname, said.keys), (None, vec!["ssh-rsa BBBB b".to_owned()]));
}

#[test]
fn a_server_that_is_busy_is_asked_again_and_one_that_sends_too_much_is_not() {
    let start = Instant::now();
    let busy = says("digitalocean", &[("GET /metadata/v1/hostname", "", 503, "")]);
    assert!(busy.unwrap_err().to_string().ends_with("503"));
    assert!(start.elapsed() >= Duration::from_secs(2));
    let start = Instant::now();
    let much = "x".repeat(USER_DATA_MAX + 1);
    let said = says(
        "digitalocean",
        &[
            ("GET /metadata/v1/hostname", "", 200, "a"),
            ("GET /metadata/v1/user-data", "", 200, &much),
        ],
    );
    assert!(said.unwrap_err().to_string().contains("larger than 1048576 bytes"));
    assert!(start.elapsed() < Duration::from_secs(1));
}
