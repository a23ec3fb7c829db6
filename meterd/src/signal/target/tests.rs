//! Which addresses a signal may go to, and which targets are refused before anything is sent.

use super::{Target, is_allowed};

#[test]
fn only_public_addresses_are_reached_unless_an_operator_says_otherwise() {
    let check = |ip: &str, public: bool, private: bool| {
        let ip = ip.parse().unwrap();
        assert_eq!((is_allowed(ip, false), is_allowed(ip, true)), (public, private), "{ip}");
    };
    for ip in ["93.184.216.34", "1.1.1.1", "2606:4700:4700::1111"] {
        check(ip, true, true);
    }
    for ip in ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "100.100.100.200", "::1", "fd12::1"]
    {
        check(ip, false, true);
    }
    // Metadata services and other places that no receiver is at, however the address is written.
    for ip in ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "fd00:ec2::254", "0.0.0.0", "::", "224.0.0.1"] {
        check(ip, false, false);
    }
    check("::ffff:127.0.0.1", false, true);
    check("64:ff9b::a9fe:a9fe", false, false);
    check("::a9fe:a9fe", false, false);
    check("255.255.255.255", false, false);
}

#[test]
fn a_target_is_a_plain_https_url_of_an_allowed_host() {
    let check = |url: &str, allow_private: bool, hosts: &[&str], expected: &str| {
        let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
        match Target::parse(url, allow_private, &hosts) {
            Ok(target) => assert_eq!(target.shown(), expected),
            Err(message) => assert!(message.contains(expected), "{message}"),
        }
    };
    check("https://hooks.example.com/kill?k=1", false, &[], "hooks.example.com:443");
    check("https://hooks.example.com:8443/", false, &["HOOKS.example.com"], "hooks.example.com:8443");
    check("http://[::1]:9000/x", true, &[], "::1:9000");
    check("http://hooks.example.com/", false, &[], "plain http");
    check("https://evil.example.com/", false, &["hooks.example.com"], "signals.allowedHosts");
    check("https://user:pass@hooks.example.com/", false, &[], "secretFile");
    check("ftp://hooks.example.com/", false, &[], "no http or https URL");
}

#[tokio::test]
async fn a_forbidden_address_is_refused_without_a_connection() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    let target = Target::parse(&url, false, &[]).unwrap();
    let error = target.resolve().await.unwrap_err().to_string();
    assert!(error.starts_with("not_permitted: localhost") && error.contains("allowPrivate"), "{error}");
}
