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
