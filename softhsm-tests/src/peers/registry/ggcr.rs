//! What only our own registry can do: tokens, slowness, a referrers API that is wrong, and a
//! record of all that it was asked.

use std::{fs, path::Path, process::Command, time::Duration};

use serde_json::Value;

use super::{Builder, Kind, LOG, Registry};

/// How the referrers API of [`Registry::ggcr`] answers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Referrers {
    /// As the distribution specification says; the filter by artifact type is left to the client.
    #[default]
    Right,
    /// As go-containerregistry v0.22.1 does. The answer to a pushed manifest lacks `OCI-Subject`,
    /// a referrer's artifact type is the media type of its configuration (so that of a signature
    /// is that of the empty configuration), the order is random, and an unknown repository is a
    /// 404.
    Raw,
    /// Not there.
    Off,
}

/// A request that [`Registry::ggcr`] answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// `GET`, `PUT`, ...
    pub method: String,
    /// Such as `/v2/demo/manifests/v1`, or `/token`.
    pub path: String,
    /// What stands after the question mark, as it was sent.
    pub query: String,
    /// `User-Agent`, empty for none.
    pub user_agent: String,
    /// `Basic` or `Bearer`, empty for none.
    pub authorization: String,
    /// Status of the answer.
    pub status: u16,
    /// The client's end of the connection: equal for requests on one connection.
    pub connection: String,
    /// When the request came and when its answer was ready, in microseconds.
    pub time: (u64, u64),
}

impl Registry {
    /// All requests since the registry was started, in the order of their answers. A client that
    /// has its answer finds the request here. Empty for registries other than `ggcr`.
    pub fn requests(&self) -> Vec<Request> {
        recorded(self.home.path()).split_off(self.probes)
    }
}

/// How many of the requests were made one after another: the length of the longest row in which
/// each came after the answer before it was ready.
///
/// Only with [`Builder::latency`], longer than the client takes between two requests that it
/// makes at once, does it tell these from two that it makes in turn.
pub fn in_a_row(requests: &[Request]) -> usize {
    let mut sorted: Vec<&Request> = requests.iter().collect();
    sorted.sort_by_key(|request| request.time);
    let mut rows: Vec<usize> = Vec::new();
    for request in &sorted {
        let before = sorted
            .iter()
            .zip(&rows)
            .filter(|(earlier, _)| earlier.time.1 <= request.time.0)
            .map(|(_, length)| *length)
            .max();
        rows.push(before.unwrap_or(0) + 1);
    }
    rows.into_iter().max().unwrap_or(0)
}

impl Builder {
    /// Ask for a bearer token, which the registry's `/token` gives for the user name and password
    /// of [`Registry::credentials`], for exactly the scopes asked for.
    ///
    /// # Panics
    /// For registries other than `ggcr`, which cannot.
    pub fn token_auth(mut self) -> Self {
        self.only_ggcr("tokens");
        self.auth = true;
        self.ggcr.token = true;
        self
    }

    /// Name `url` as the token endpoint, in place of the registry's own.
    ///
    /// # Panics
    /// For registries other than `ggcr`, which cannot.
    pub fn token_realm(mut self, url: impl Into<String>) -> Self {
        self = self.token_auth();
        self.ggcr.realm = Some(url.into());
        self
    }

    /// Answer the referrers API in this way.
    ///
    /// # Panics
    /// For registries other than `ggcr`, which cannot.
    pub fn referrers(mut self, referrers: Referrers) -> Self {
        self.only_ggcr("a choice of referrers APIs");
        self.ggcr.referrers = referrers;
        self
    }

    /// Take this long at least for each request.
    ///
    /// # Panics
    /// For registries other than `ggcr`, which cannot.
    pub fn latency(mut self, latency: Duration) -> Self {
        self.only_ggcr("a latency");
        self.ggcr.latency = latency;
        self
    }

    /// Store or delete a manifest only after a random part of this time, then answer.
    ///
    /// # Panics
    /// For registries other than `ggcr`, which cannot.
    pub fn write_delay(mut self, limit: Duration) -> Self {
        self.only_ggcr("a delay of writes");
        self.ggcr.write_delay = limit;
        self
    }

    fn only_ggcr(&self, what: &str) {
        assert_eq!(self.kind, Kind::Ggcr, "only ggcr-registry has {what}");
    }
}

/// The settings beside those that other registries have too.
#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    referrers: Referrers,
    token: bool,
    realm: Option<String>,
    latency: Duration,
    write_delay: Duration,
}

impl Options {
    pub(super) fn apply(&self, command: &mut Command) {
        command.args(["-referrers", self.referrers.flag()]);
        if self.token {
            command.arg("-token");
        }
        if let Some(realm) = &self.realm {
            command.args(["-realm", realm]);
        }
        for (flag, time) in [
            ("-latency", self.latency),
            ("-write-delay", self.write_delay),
        ] {
            command.arg(flag).arg(format!("{}us", time.as_micros()));
        }
    }
}

impl Referrers {
    fn flag(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Raw => "raw",
            Self::Off => "off",
        }
    }
}

/// The requests in the log. A line that is still being written is left out.
pub(super) fn recorded(home: &Path) -> Vec<Request> {
    let log = fs::read_to_string(home.join(LOG)).unwrap_or_default();
    log.lines().filter_map(parse).collect()
}

fn parse(line: &str) -> Option<Request> {
    let line: Value = serde_json::from_str(line).ok()?;
    let text = |name: &str| Some(line.get(name)?.as_str()?.to_owned());
    Some(Request {
        method: text("method")?,
        path: text("path")?,
        query: text("query")?,
        user_agent: text("userAgent")?,
        authorization: text("authorization")?,
        status: line.get("status")?.as_u64()?.try_into().ok()?,
        connection: text("connection")?,
        time: (line.get("start")?.as_u64()?, line.get("end")?.as_u64()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::{Notation, Oras, succeed};

    const SIGNATURE: &str = "application/vnd.cncf.notary.signature";

    fn attach(oras: &Oras, registry: &Registry, subject: &str, kind: &str) -> String {
        let file = registry.home.path().join("referrer.txt");
        fs::write(&file, kind).unwrap();
        let mut command = oras.command(["attach", "--format", "json", "--artifact-type", kind]);
        command.args(registry.oras_flags()).arg(subject);
        command
            .arg("referrer.txt:text/plain")
            .current_dir(registry.home.path());
        let report: Value = serde_json::from_str(&succeed(&mut command)).unwrap();
        report["digest"].as_str().unwrap().to_owned()
    }

    /// The digests and artifact types that `oras` finds through the API or the tag schema.
    fn referrers(oras: &Oras, registry: &Registry, subject: &str) -> Vec<(String, String)> {
        let mut command = oras.command(["discover", "--format", "json"]);
        command.args(registry.oras_flags()).arg(subject);
        let report: Value = serde_json::from_str(&succeed(&mut command)).unwrap();
        let text = |of: &Value, name: &str| of[name].as_str().unwrap().to_owned();
        report["referrers"]
            .as_array()
            .or_else(|| report["manifests"].as_array())
            .unwrap()
            .iter()
            .map(|found| (text(found, "digest"), text(found, "artifactType")))
            .collect()
    }

    fn is_tag_schema(request: &Request) -> bool {
        request.path.contains("/manifests/sha256-")
    }

    #[test]
    fn referrers_are_listed_with_their_types_as_they_were_pushed() {
        let registry = Registry::ggcr().start();
        let oras = Oras::new();
        let subject = registry.push("team/demo:v1", b"hello");
        assert_eq!(referrers(&oras, &registry, &subject), []);
        let pushed: Vec<_> = [SIGNATURE, "application/vnd.a", "application/vnd.b"]
            .map(|kind| (attach(&oras, &registry, &subject, kind), kind.to_owned()))
            .into();
        assert_eq!(referrers(&oras, &registry, &subject), pushed);
        let requests = registry.requests();
        assert!(!requests.iter().any(is_tag_schema), "{requests:?}");
    }

    /// The library's own answers: clients write the tag schema, and find the wrong type in the API.
    #[test]
    fn raw_referrers_are_wrong() {
        let registry = Registry::ggcr().referrers(Referrers::Raw).start();
        let oras = Oras::new();
        let subject = registry.push("team/demo:v1", b"hello");
        let digest = attach(&oras, &registry, &subject, SIGNATURE);
        let requests = registry.requests();
        assert!(
            requests
                .iter()
                .any(|request| request.method == "PUT" && is_tag_schema(request)),
            "{requests:?}"
        );
        let empty = "application/vnd.oci.empty.v1+json".to_owned();
        assert_eq!(referrers(&oras, &registry, &subject), [(digest, empty)]);
    }

    #[test]
    fn basic_authentication_over_tls() {
        let registry = Registry::ggcr().tls().basic_auth().start();
        registry.push("team/demo:v1", b"hello");
        let refused = |request: &&Request| request.status == 401;
        let requests = registry.requests();
        assert!(
            requests
                .iter()
                .filter(refused)
                .all(|request| request.authorization.is_empty())
        );
        assert!(
            requests
                .iter()
                .any(|request| request.method == "PUT" && request.authorization == "Basic")
        );
    }

    #[test]
    fn tokens_are_good_for_their_scope_only() {
        let registry = Registry::ggcr().token_auth().start();
        let oras = Oras::new();
        registry.push("team/demo:v1", b"hello");
        let mut anonymous = oras.command(["manifest", "fetch"]);
        let output = anonymous
            .arg(registry.reference("team/demo:v1"))
            .output()
            .unwrap();
        assert!(!output.status.success());

        let requests = registry.requests();
        let given: Vec<_> = requests
            .iter()
            .filter(|request| request.path == "/token" && request.status == 200)
            .collect();
        assert_eq!(given.len(), 1, "{requests:?}");
        assert!(
            given[0].query.contains("team%2Fdemo%3Apull%2Cpush"),
            "{given:?}"
        );
        for request in requests.iter().filter(|request| request.path != "/token") {
            let with_token = request.authorization == "Bearer";
            assert_eq!(with_token, request.status != 401, "{request:?}");
        }
    }

    /// The reference signs and verifies here, with a token and through the referrers API.
    #[test]
    fn notation_signs_and_verifies() {
        let registry = Registry::ggcr().token_auth().start();
        let notation = Notation::new();
        let artifact = registry.push("team/demo:v1", b"hello");
        let (user, password) = registry.credentials().unwrap();
        let login = ["--username", user, "--password", password];
        notation.run(["cert", "generate-test", "--default", "signer"]);
        notation.trust(&notation.config_dir().join("localkeys/signer.crt"));
        let before = registry.requests().len();
        let mut sign = notation.command(["sign", "--force-referrers-tag=false"]);
        succeed(sign.args(login).arg(&artifact));
        let mut verify = notation.command(["verify"]);
        succeed(verify.args(login).arg(&artifact));
        let requests = registry.requests().split_off(before);
        assert!(!requests.iter().any(is_tag_schema), "{requests:?}");
        assert!(in_a_row(&requests) > 8, "{requests:?}");
    }

    #[test]
    fn writes_of_manifests_are_late() {
        let delay = Duration::from_millis(200);
        let registry = Registry::ggcr().write_delay(delay).start();
        for version in 0..8 {
            registry.push(&format!("team/demo:v{version}"), b"hello");
        }
        // That none of eight takes a tenth of the limit happens once in a hundred million runs.
        let late = |request: &Request| {
            let took = request.time.1 - request.time.0;
            request.method == "PUT" && u128::from(took) >= delay.as_micros() / 10
        };
        let requests = registry.requests();
        assert!(requests.iter().any(late), "{requests:?}");
    }

    #[test]
    fn latency_tells_requests_at_once_from_requests_in_turn() {
        let at = |start, end| Request {
            method: "GET".to_owned(),
            path: "/v2/".to_owned(),
            query: String::new(),
            user_agent: String::new(),
            authorization: String::new(),
            status: 200,
            connection: String::new(),
            time: (start, end),
        };
        assert_eq!(in_a_row(&[]), 0);
        assert_eq!(in_a_row(&[at(0, 10), at(1, 11), at(2, 12)]), 1);
        assert_eq!(in_a_row(&[at(0, 10), at(1, 30), at(10, 20), at(35, 40)]), 3);

        let latency = Duration::from_millis(50);
        let registry = Registry::ggcr().latency(latency).start();
        registry.push("team/demo:v1", b"hello");
        let requests = registry.requests();
        assert!(
            requests
                .iter()
                .all(|request| u128::from(request.time.1 - request.time.0) >= latency.as_micros()),
            "{requests:?}"
        );
        assert!(in_a_row(&requests) < requests.len(), "{requests:?}");
    }
}
