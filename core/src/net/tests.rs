use super::*;

fn url(text: &str) -> Url {
    text.parse().unwrap()
}

#[test]
fn what_is_shown_of_a_url() {
    // SEC-20: signed addresses of content hold secrets in their query.
    assert_eq!(
        shown(&url("https://u:p@h.example/a?signature=x#y")),
        "https://h.example/a"
    );
}

#[test]
fn this_machine_is_known() {
    // REG-10: as in Go, no proxy is used for it.
    for (text, expected) in [
        ("http://localhost:1/", true),
        ("http://127.0.0.2/", true),
        ("http://[::1]:1/", true),
        ("http://localhost.example/", false),
        ("http://10.0.0.1/", false),
    ] {
        assert_eq!(is_loopback(&url(text)), expected, "{text}");
    }
}

#[test]
fn only_web_addresses_are_fetched() {
    for (text, good) in [
        ("https://h.example/", true),
        ("http://h.example/", true),
        ("file:///etc/passwd", false),
        ("https://u@h.example/", false),
        ("data:text/plain,x", false),
    ] {
        assert_eq!(check_url(&url(text)).is_ok(), good, "{text}");
    }
}

/// REV-12: who answers for a stranger's address does not send a request into this network.
#[test]
fn strangers_do_not_lead_inside() {
    let outside = url("http://crl.example/a");
    let stranger = Request::new(Method::GET, outside.clone()).of_a_stranger();
    for (text, inside) in [
        ("http://localhost./", true),
        ("http://127.0.0.2:8080/", true),
        ("http://0x7f000001/", true),
        ("http://169.254.169.254/latest/", true),
        ("http://10.0.0.1/", true),
        ("http://192.168.1.1/", true),
        ("http://0.0.0.0/", true),
        ("http://[::1]/", true),
        ("http://[::ffff:10.0.0.1]/", true),
        ("http://[fe80::1]/", true),
        ("http://[fd00::1]/", true),
        ("http://203.0.113.1/", false),
        ("http://[2001:db8::1]/", false),
        ("http://localhost.example/", false),
    ] {
        let next = url(text);
        assert_eq!(turns_inside(&stranger, &outside, &next), inside, "{text}");
        // What is inside already may stay there, and other requests are free.
        assert!(!turns_inside(&stranger, &url("http://127.0.0.1/"), &next));
        let own = Request::new(Method::GET, outside.clone());
        assert!(!turns_inside(&own, &outside, &next));
    }
}
