//! Who is told what: passwords, tokens, and hosts that should get neither.

use hardsign_test_support::Told;
use std::sync::Arc;

use hardsign_core::artifact::reference::RepositoryName;
use hardsign_core::event::{Event, Listener};
use hardsign_core::oci::auth::{
    Credential, CredentialPlaces, CredentialStore, Credentials, LoginOutcome, login,
};
use hardsign_core::oci::registry::{Access, Connector, ConnectorOptions};
use hardsign_core::oci::{OciError, Repository as _};
use hardsign_test_support::registry::{Auth, Behaviour, Body, FakeRegistry, Response};

use crate::support::*;

fn given(username: &str, password: &str) -> ConnectorOptions {
    let mut options = options();
    let credential = Credential::from_user(username, password).unwrap();
    options.credentials = Credentials::Given(credential);
    options
}

fn basic() -> FakeRegistry {
    FakeRegistry::start(Behaviour {
        auth: Auth::Basic {
            pair: "alice:secret".to_owned(),
        },
        ..Behaviour::default()
    })
}

fn bearer(pair: Option<&str>, realm: Option<String>) -> FakeRegistry {
    FakeRegistry::start(Behaviour {
        auth: Auth::Bearer {
            pair: pair.map(str::to_owned),
            realm,
        },
        ..Behaviour::default()
    })
}

#[tokio::test]
async fn basic_authentication() {
    // REG-04, REG-07
    let fake = basic();
    let subject = artifact(&fake);
    let registry = open_with(&fake, Access::Write, given("alice", "secret"));
    push(&registry, &subject, "one").await.unwrap();
    let refused = fake.log().iter().filter(|r| r.status == 401).count();
    // Once asked, the password is sent along: only the first three, sent at once, were refused.
    assert!(refused <= 3, "{refused}");

    let wrong = open_with(&fake, Access::Read, given("alice", "wrong"));
    let error = wrong.resolve(&by_tag("v1")).await.unwrap_err();
    assert!(text(&error).contains("unauthorized"), "{}", text(&error));
    let nobody = open(&fake, Access::Read);
    let error = nobody.resolve(&by_tag("v1")).await.unwrap_err();
    assert!(text(&error).contains("credential required for basic auth"));
}

#[tokio::test]
async fn tokens_are_fetched_once_and_reused() {
    // REG-04, REG-13
    let fake = bearer(Some("alice:secret"), None);
    let subject = artifact(&fake);
    let registry = open_with(&fake, Access::Write, given("alice", "secret"));
    registry.resolve(&by_digest(&subject)).await.unwrap();
    for n in 0..5 {
        push(&registry, &subject, &n.to_string()).await.unwrap();
    }
    assert_eq!(fake.tokens(), 1);
    let scopes: Vec<_> = fake
        .log()
        .into_iter()
        .filter(|r| r.path == "/token")
        .collect();
    assert_eq!(
        scopes[0].query,
        "service=fake&scope=repository%3Arepo%3Apull%2Cpush"
    );
    // Reading asks for no right to write.
    fake.clear_log();
    let registry = open_with(&fake, Access::Read, given("alice", "secret"));
    registry.resolve(&by_digest(&subject)).await.unwrap();
    let token = fake.log().into_iter().find(|r| r.path == "/token").unwrap();
    assert_eq!(token.query, "service=fake&scope=repository%3Arepo%3Apull");
    // The password goes to the token service alone.
    for request in fake.log() {
        let authorization = request.authorization.unwrap_or_default();
        assert_eq!(
            authorization.starts_with("Basic "),
            request.path == "/token"
        );
    }
}

#[tokio::test]
async fn anonymous_and_refresh_tokens() {
    // REG-04, REG-06
    let fake = bearer(None, None);
    artifact(&fake);
    open(&fake, Access::Read)
        .resolve(&by_tag("v1"))
        .await
        .unwrap();

    let fake = bearer(Some("alice:secret"), None);
    artifact(&fake);
    let registry = open_with(&fake, Access::Read, given("", "good"));
    registry.resolve(&by_tag("v1")).await.unwrap();
    assert!(fake.requests().contains(&"POST /token".to_owned()));

    let registry = open_with(&fake, Access::Read, given("alice", "wrong"));
    let error = registry.resolve(&by_tag("v1")).await.unwrap_err();
    assert!(text(&error).contains("unauthorized"), "{}", text(&error));
}

#[tokio::test]
async fn a_token_service_elsewhere_gets_nothing() {
    // REG-05, SEC-03
    let elsewhere = FakeRegistry::start(Behaviour::default());
    for realm in [
        "https://evil.example/token".to_owned(),
        "http://evil.example/token".to_owned(),
        "http://alice@localhost/token".to_owned(),
        "file:///etc/passwd".to_owned(),
        "nonsense".to_owned(),
    ] {
        let fake = bearer(Some("alice:secret"), Some(realm.clone()));
        artifact(&fake);
        let registry = open_with(&fake, Access::Read, given("alice", "secret"));
        let error = registry.resolve(&by_tag("v1")).await.unwrap_err();
        assert!(
            text(&error).contains("token service"),
            "{realm}: {}",
            text(&error)
        );
    }
    assert!(elsewhere.log().is_empty());
}

/// REG-05: on plain HTTP another port of the registry's host may be somebody else's.
#[tokio::test]
async fn reg_05_a_token_service_at_another_port_gets_nothing() {
    let elsewhere = FakeRegistry::start(Behaviour {
        auth: Auth::Bearer {
            pair: Some("alice:secret".to_owned()),
            realm: None,
        },
        ..Behaviour::default()
    });
    let realm = format!("http://{}/token", elsewhere.name());
    for (username, password) in [("alice", "secret"), ("", "good")] {
        let fake = bearer(Some("alice:secret"), Some(realm.clone()));
        artifact(&fake);
        let registry = open_with(&fake, Access::Read, given(username, password));
        let error = registry.resolve(&by_tag("v1")).await.unwrap_err();
        assert!(text(&error).contains("on another port"), "{}", text(&error));
    }
    assert!(elsewhere.log().is_empty());
    // Named with its port, it is the user's word.
    let fake = bearer(None, Some(realm));
    artifact(&fake);
    let mut options = given("alice", "secret");
    options.token_services = vec![elsewhere.name()];
    let registry = open_with(&fake, Access::Read, options);
    registry.resolve(&by_tag("v1")).await.unwrap();
    assert!(!elsewhere.log().is_empty());
}

/// REG-05: what was given goes to the first registry of the run, under whichever name, and to no
/// other.
#[tokio::test]
async fn reg_05_one_password_for_one_registry() {
    let (first, second) = (basic(), basic());
    artifact(&first);
    artifact(&second);
    let connector = Connector::new(given("alice", "secret")).unwrap();
    let name = |registry: &str| RepositoryName::new(registry, "repo").unwrap();
    let own = connector
        .repository(name(&first.name()), Access::Read)
        .unwrap();
    let error = connector
        .repository(name(&second.name()), Access::Read)
        .unwrap_err();
    let error = text(&error);
    assert!(
        error.contains(&first.name()) && error.contains(&second.name()),
        "{error}"
    );
    let shouted = first.name().replace("localhost:", "LOCALHOST:0");
    let same = connector.repository(name(&shouted), Access::Read).unwrap();
    for registry in [own, same] {
        registry.resolve(&by_tag("v1")).await.unwrap();
    }
    assert!(second.log().is_empty());
}

#[tokio::test]
async fn redirects_lose_the_credentials() {
    // REG-05
    let elsewhere = FakeRegistry::start(Behaviour::default());
    let subject = artifact(&elsewhere);
    let target = elsewhere.url().replace("localhost", "127.0.0.1");
    let fake = FakeRegistry::start(Behaviour {
        auth: Auth::Basic {
            pair: "alice:secret".to_owned(),
        },
        intercept: Some(Box::new(move |request| {
            let signed_in = request.header("authorization").is_some();
            (signed_in && request.method == "GET").then(|| {
                Response::status(307).header("location", &format!("{target}{}", request.path))
            })
        })),
        ..Behaviour::default()
    });
    let registry = open_with(&fake, Access::Write, given("alice", "secret"));
    assert_eq!(registry.resolve(&by_tag("v1")).await.unwrap(), subject);
    assert_eq!(elsewhere.log().len(), 1);
    assert!(elsewhere.log().iter().all(|r| r.authorization.is_none()));
}

#[tokio::test]
async fn uploads_elsewhere_go_without_credentials() {
    // REG-05
    let elsewhere = FakeRegistry::start(Behaviour {
        intercept: Some(Box::new(|_| Some(Response::status(201)))),
        ..Behaviour::default()
    });
    let target = elsewhere.url();
    let fake = FakeRegistry::start(Behaviour {
        auth: Auth::Basic {
            pair: "alice:secret".to_owned(),
        },
        intercept: Some(Box::new(move |request| match request.method.as_str() {
            "POST" if request.header("authorization").is_some() => {
                Some(Response::status(202).header("location", &format!("{target}/up?x=1")))
            }
            "PUT" => Some(Response::status(201).header("oci-subject", "x")),
            _ => None,
        })),
        ..Behaviour::default()
    });
    let subject = artifact(&fake);
    let registry = open_with(&fake, Access::Write, given("alice", "secret"));
    // Nothing arrives here, so that nothing is found afterwards.
    let error = push(&registry, &subject, "one").await.unwrap_err();
    assert!(matches!(error, OciError::NotListed { .. }), "{error}");
    let log = elsewhere.log();
    assert!(!log.is_empty() && log.iter().all(|r| r.authorization.is_none()));
    assert!(
        log[0].query.starts_with("x=1&digest=sha256%3A"),
        "{}",
        log[0].query
    );
}

#[tokio::test]
async fn logging_in_tries_the_credential_first() {
    // CFG-25, CFG-26
    let fake = basic();
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("config.json");
    let mut places = CredentialPlaces::default();
    places.notation.clone_from(&config);
    let store = CredentialStore::new(places);
    let connector = Connector::new(options()).unwrap();
    let name = fake.name();
    let good = Credential::from_user("alice", "secret").unwrap();
    let wrong = Credential::from_user("alice", "wrong").unwrap();

    let error = login(&connector, &store, &name, &wrong).await.unwrap_err();
    let error = text(&error);
    assert!(
        error.starts_with(&format!("failed to log in to {name}: ")),
        "{error}"
    );
    assert!(error.contains("unauthorized"), "{error}");
    let error = login(&connector, &store, &name, &good).await.unwrap_err();
    assert_eq!(
        error.told(),
        format!(
            "failed to log in to {name}: the credential could not be saved because a credentials store is required to securely store the password. See https://notaryproject.dev/docs/how-to/registry-authentication/"
        )
    );
    // The same credential stands there in plain text: it is used, and nothing is written.
    let plain = format!(r#"{{"auths":{{"{name}":{{"auth":"YWxpY2U6c2VjcmV0"}}}}}}"#);
    std::fs::write(&config, &plain).unwrap();
    let outcome = login(&connector, &store, &name, &good).await.unwrap();
    assert_eq!(outcome, LoginOutcome::AlreadyInPlainText);
    assert_eq!(std::fs::read_to_string(&config).unwrap(), plain);

    let mut options = options();
    options.credentials = Credentials::Store(Arc::new(store));
    artifact(&fake);
    let registry = open_with(&fake, Access::Read, options);
    registry.resolve(&by_tag("v1")).await.unwrap();
}

#[tokio::test]
async fn the_debug_log_shows_requests_and_no_secret() {
    // LOG-03 to LOG-05
    let fake = bearer(Some("alice:hunter2"), None);
    artifact(&fake);
    let lines = Arc::new(std::sync::Mutex::new(String::new()));
    let sink = Arc::clone(&lines);
    let mut options = given("alice", "hunter2");
    options.client.listener = Listener::new(move |event: &Event<'_>| {
        sink.lock().unwrap().push_str(&event.to_string());
    });
    let registry = open_with(&fake, Access::Read, options);
    registry.resolve(&by_tag("v1")).await.unwrap();
    let text = lines.lock().unwrap().clone();
    let head = format!(
        "Request #0\n> Request: \"HEAD\" \"{}/v2/repo/manifests/v1\"\n> Request headers:\n",
        fake.url()
    );
    assert!(text.starts_with(&head), "{text}");
    assert!(text.contains("\nResponse #0\n< Response status: \"401 Unauthorized\"\n"));
    assert!(text.contains("   \"Authorization\": \"*****\""));
    for secret in ["hunter2", "YWxpY2U6aHVudGVyMg==", "Bearer t-"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[tokio::test]
async fn answers_of_token_services_are_bounded() {
    // REG-12
    let fake = FakeRegistry::start(Behaviour {
        auth: Auth::Bearer {
            pair: None,
            realm: None,
        },
        intercept: Some(Box::new(|request| {
            (request.path == "/token")
                .then(|| Response::status(200).body(Body::Endless { announced: None }))
        })),
        ..Behaviour::default()
    });
    artifact(&fake);
    let error = open(&fake, Access::Read).resolve(&by_tag("v1")).await;
    assert!(text(&error.unwrap_err()).contains("more than 4194304 bytes"));
}
