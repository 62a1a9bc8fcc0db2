//! The certificates of keys and trust stores: what expires and what stops verifying then, whether a
//! chain is one that signatures can have, and whether a trust policy statement of this machine trusts it.

use hardsign_core::policy::Rules;
use hardsign_core::text::WithCauses;
use hardsign_core::trust::{Loader, StoreType, decide};
use hardsign_core::x509::{Certificate, Chain, CodeSigning};
use hardsign_plugin::text::plural;
use jiff::{SignedDuration, Timestamp};

use super::keys::subject_of;
use super::{Finding, Status};
use crate::output::rfc3339;

/// The statements that verify, each with its name, of one kind of policy after the other.
#[derive(Default)]
pub(super) struct Statements(Vec<(String, Rules)>);

/// What is wrong with the time of a certificate.
pub(super) struct Lapse {
    pub(super) message: String,
    pub(super) fix: String,
    /// It is not valid now.
    pub(super) now: bool,
}

impl Statements {
    pub(super) fn push(&mut self, name: &str, rules: &Rules) {
        self.0.push((name.to_owned(), rules.clone()));
    }

    /// The first statement that trusts a chain for code signing.
    fn trusting(&self, chain: &[Certificate], loader: &Loader) -> Option<&str> {
        let trusts = |(_, rules): &&(String, Rules)| {
            let stores: Vec<_> = rules
                .stores_of(StoreType::Ca)
                .filter_map(|store| loader.load(store).ok())
                .collect();
            let anchored = decide(chain, stores.iter().map(|store| &**store)).is_ok();
            let known = |leaf| rules.identities().check(leaf, "").is_ok();
            anchored && chain.first().is_some_and(known)
        };
        let found = self.0.iter().find(trusts);
        found.map(|(name, _)| name.as_str())
    }
}

/// The chain of a signing key, leaf first: what keeps it from signing comes as an error, what will, or
/// what this machine does not trust, as a warning. The text is what is good about it. The key of a CA is not one to sign
/// with, unless it is what `sign` takes where no key is named.
pub(super) fn of_key(
    name: &str,
    is_default: bool,
    chain: Vec<Certificate>,
    statements: &Statements,
    loader: &Loader,
    now: Timestamp,
) -> (Vec<Finding>, Option<String>) {
    let mut findings = Vec::new();
    let mut tell = |status, message, fix: &str| {
        findings.push(Finding {
            status,
            subject: subject_of(name),
            message,
            fix: Some(fix.to_owned()),
        });
    };
    for (position, certificate) in chain.iter().enumerate() {
        let what = match position {
            0 => "its certificate",
            _ => "a certificate of its chain",
        };
        if let Some(lapse) = lapse(certificate, now) {
            let status = match lapse.now {
                true => Status::Error,
                false => Status::Warning,
            };
            let fix = match now < certificate.not_before() {
                true => lapse.fix,
                false if position == 0 => renewal(name, certificate),
                false => format!("have its issuer renew it; {}", storing(name)),
            };
            tell(status, format!("{what}: {}", lapse.message), &fix);
        }
    }
    let constraints = chain.first().and_then(|leaf| leaf.basic_constraints());
    if !is_default && constraints.is_some_and(|constraints| constraints.ca) {
        let good = "of a CA: it issues certificates, and can't sign artifacts";
        return (findings, Some(good.to_owned()));
    }
    let proven = match Chain::<CodeSigning>::prove(chain) {
        Ok(proven) => proven,
        Err(error) => {
            let message = format!(
                "its certificate chain can't be used: {}",
                WithCauses(&error)
            );
            let fix = format!(
                "a chain has the signing certificate first and the root last; {}",
                storing(name)
            );
            tell(Status::Error, message, &fix);
            return (findings, None);
        }
    };
    let leaf = proven.leaf().subject();
    let good = match statements.trusting(proven.certificates(), loader) {
        Some(statement) => Some(format!("trusted by statement {statement:?}")),
        None if statements.0.is_empty() => None,
        None => {
            let message = format!(
                "no trust policy statement on this machine trusts {leaf}, so what it signs does not verify here"
            );
            tell(Status::Warning, message, TRUST);
            None
        }
    };
    (findings, good)
}

/// What is wrong with the time of a certificate, now or within [`SOON`], and what to do.
pub(super) fn lapse(certificate: &Certificate, now: Timestamp) -> Option<Lapse> {
    let subject = certificate.subject();
    let (from, to) = (certificate.not_before_utc(), certificate.not_after_utc());
    if now < certificate.not_before() {
        return Some(Lapse {
            message: format!("{subject} is not valid before {}", rfc3339(from)),
            fix: format!("check this machine's clock: it says {now:.0}"),
            now: true,
        });
    }
    if now > certificate.not_after() {
        return Some(Lapse {
            message: format!(
                "{subject} expired at {}: signatures without a timestamp from before no longer verify",
                rfc3339(to)
            ),
            fix: REPLACE.to_owned(),
            now: true,
        });
    }
    let left = certificate.not_after().duration_since(now);
    (left < SOON).then(|| Lapse {
        message: format!(
            "{subject} expires in {}: signatures without a timestamp stop verifying at {}",
            days(left),
            rfc3339(to)
        ),
        fix: REPLACE.to_owned(),
        now: false,
    })
}

fn days(left: SignedDuration) -> String {
    match left.as_hours() / 24 {
        0 => "less than a day".to_owned(),
        days => plural(days, "day"),
    }
}

/// How the certificate of the key `name` is renewed: by the key itself, or by who issued it.
fn renewal(name: &str, certificate: &Certificate) -> String {
    match certificate.is_self_signed() {
        true => format!("renew it with `hardsign key renew {name} --days <days>`"),
        false => format!(
            "renew it with `hardsign key renew {name} --issuer <ca-key> --days <days>`, or request a new one for another CA with `hardsign key renew {name} --csr`"
        ),
    }
}

const REPLACE: &str = "add the certificate that replaces it";

/// How the key `name` gets another chain.
fn storing(name: &str) -> String {
    format!(
        "`hardsign key import-cert {name} --force <file>...` stores another one for a key on a device"
    )
}

const TRUST: &str = "if it should be trusted here, `hardsign policy add-signer <name> --cert <file> --scope <repository>` adds it";

/// Certificates that expire within this time are told of.
const SOON: SignedDuration = SignedDuration::from_hours(30 * 24);

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate of one day in January 2024, and a minute of each of its ages.
    #[test]
    fn certificates_before_in_and_after_their_time() {
        let der = include_bytes!("../../../../plugins/testkit/keys/expired.der");
        let [certificate] = <[_; 1]>::try_from(Certificate::parse_file(der).unwrap()).unwrap();
        let at = |time: &str| lapse(&certificate, time.parse().unwrap()).unwrap();
        let subject = "CN=Rude leaf,O=Hardsign test kit,ST=WA,C=US";

        let early = at("2023-12-31T23:59:59Z");
        assert_eq!(
            (early.message, early.fix, early.now),
            (
                format!("{subject} is not valid before 2024-01-01T00:00:00Z"),
                "check this machine's clock: it says 2023-12-31T23:59:59Z".to_owned(),
                true
            )
        );
        let valid = at("2024-01-01T00:00:00Z");
        assert_eq!(
            (valid.message, valid.fix.as_str(), valid.now),
            (
                format!(
                    "{subject} expires in 1 day: signatures without a timestamp stop verifying at 2024-01-02T00:00:00Z"
                ),
                REPLACE,
                false
            )
        );
        let late = at("2024-01-02T00:00:01Z");
        assert_eq!(
            (late.message, late.fix.as_str(), late.now),
            (
                format!(
                    "{subject} expired at 2024-01-02T00:00:00Z: signatures without a timestamp from before no longer verify"
                ),
                REPLACE,
                true
            )
        );
    }

    /// A key that can't sign yet, or not any more, is an error, whatever else is well.
    #[test]
    fn keys_whose_certificates_are_out_of_time() {
        let der = include_bytes!("../../../../plugins/testkit/keys/expired.der");
        let again = "renew it with `hardsign key renew key --issuer <ca-key> --days <days>`, or request a new one for another CA with `hardsign key renew key --csr`";
        let root = include_bytes!("../../../../plugins/testkit/keys/root.der");
        let mut chain = Certificate::parse_file(der).unwrap();
        chain.extend(Certificate::parse_file(root).unwrap());
        let stores = tempfile::tempdir().unwrap();
        let loader = Loader::new(stores.path().to_owned());
        for (now, fix) in [
            (
                "2023-12-31T23:59:59Z",
                "check this machine's clock: it says 2023-12-31T23:59:59Z",
            ),
            ("2024-01-02T00:00:01Z", again),
        ] {
            let now = now.parse().unwrap();
            let (findings, _) = of_key(
                "key",
                true,
                chain.clone(),
                &Statements::default(),
                &loader,
                now,
            );
            let first = findings.first().unwrap();
            assert!(first.status == Status::Error, "{}", first.message);
            assert!(
                first.message.starts_with("its certificate: CN=Rude leaf"),
                "{}",
                first.message
            );
            assert_eq!(first.fix.as_deref(), Some(fix));
        }
    }

    /// The key of a CA is well as one, and not as the key that signs.
    #[test]
    fn a_ca_is_not_to_sign() {
        let root = include_bytes!("../../../../plugins/testkit/keys/root.der");
        let root = Certificate::parse_file(root).unwrap();
        let stores = tempfile::tempdir().unwrap();
        let loader = Loader::new(stores.path().to_owned());
        let now = root[0].not_before();
        let look = |is_default| {
            let statements = Statements::default();
            of_key("root", is_default, root.clone(), &statements, &loader, now)
        };
        let (findings, good) = look(false);
        assert!(findings.is_empty());
        assert_eq!(
            good.as_deref(),
            Some("of a CA: it issues certificates, and can't sign artifacts")
        );
        let (findings, good) = look(true);
        assert_eq!(good, None);
        assert_eq!(findings.len(), 1);
        let said = &findings[0].message;
        assert!(
            said.starts_with("its certificate chain can't be used: "),
            "{said}"
        );
    }
}
