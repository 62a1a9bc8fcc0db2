//! This machine's clock against the one by which a service judges tokens and signatures.

use std::fmt;
use std::time::{Duration, SystemTime};

use jiff::fmt::rfc2822::DateTimeParser;

/// A smaller difference is that of the way through the network.
const LEAST: Duration = Duration::from_secs(60);

/// By how much this machine's clock is wrong, if the service's is right.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Skew {
    /// It is in the future.
    Ahead(Duration),
    /// It is in the past.
    Behind(Duration),
}

impl Skew {
    /// What the `Date` header of an answer (RFC 9110 §6.6.1) says of the clock; `None` if there is none, or
    /// if the two differ by less than a minute.
    pub fn of(date: Option<&str>) -> Option<Self> {
        #[allow(
            clippy::disallowed_methods,
            reason = "the clock that is looked at is this one"
        )]
        Self::between(SystemTime::now(), date?)
    }

    fn between(here: SystemTime, date: &str) -> Option<Self> {
        let there = DateTimeParser::new().parse_timestamp(date).ok()?;
        let there = SystemTime::from(there);
        let skew = match here.duration_since(there) {
            Ok(ahead) => Self::Ahead(ahead),
            Err(behind) => Self::Behind(behind.duration()),
        };
        (skew.by() >= LEAST).then_some(skew)
    }

    /// The difference.
    pub fn by(self) -> Duration {
        match self {
            Self::Ahead(by) | Self::Behind(by) => by,
        }
    }
}

/// As a hint: what is wrong, and the next step.
impl fmt::Display for Skew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match self {
            Self::Ahead(_) => "ahead of",
            Self::Behind(_) => "behind",
        };
        let minutes = self.by().as_secs() / 60;
        let unit = if minutes == 1 { "minute" } else { "minutes" };
        write!(
            f,
            "this machine's clock is {minutes} {unit} {way} the service's: set it right"
        )
    }
}

/// The hint for a certificate of a server that is not accepted, `why` being what TLS says of it.
/// `otherwise` is the hint where time is not the reason.
pub fn untrusted(why: &str, otherwise: &str) -> String {
    // As rustls words it.
    if why.contains("not valid yet") || why.contains("NotValidYet") {
        "by this machine's clock the certificate is not valid yet: check the clock".to_owned()
    } else if why.contains("expired") || why.contains("Expired") {
        "by this machine's clock the certificate has expired: check the clock first".to_owned()
    } else if why.contains("not valid for name") || why.contains("NotValidForName") {
        "another server answers than the one that was asked for: check its address and the proxy settings".to_owned()
    } else {
        otherwise.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_says_how_wrong_the_clock_is() {
        let there = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let date = "Tue, 14 Nov 2023 22:13:20 GMT";
        let hours = Duration::from_secs(7200);
        for (here, told) in [
            (there + hours, "is 120 minutes ahead of the service's"),
            (there - hours, "is 120 minutes behind the service's"),
            (there + LEAST, "is 1 minute ahead of the service's"),
        ] {
            let skew = Skew::between(here, date).unwrap();
            assert!(skew.to_string().contains(told), "{skew}");
        }
        for here in [there, there + Duration::from_secs(59)] {
            assert_eq!(Skew::between(here, date), None);
        }
        assert_eq!(Skew::between(there, "yesterday"), None);
        assert_eq!(Skew::of(None), None);
    }

    #[test]
    fn what_is_wrong_with_a_certificate_decides_the_hint() {
        let hint = |why| untrusted(why, "name its CA");
        let early = "invalid peer certificate: certificate not valid yet: verification time 1";
        assert!(hint(early).contains("not valid yet: check the clock"));
        let late = "invalid peer certificate: certificate expired: verification time 9";
        assert!(hint(late).contains("has expired: check the clock"));
        assert_eq!(
            hint("invalid peer certificate: UnknownIssuer"),
            "name its CA"
        );
    }
}
