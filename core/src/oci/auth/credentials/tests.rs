use base64::engine::general_purpose::STANDARD;

use hardsign_test_support::{Told, program};

use super::*;

struct Fixture {
    directory: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// A credential helper that keeps one secret in a file.
    fn helper(&self, name: &str) {
        let kept = self.directory.path().join("kept");
        let script = format!(
            "#!/bin/sh\ncase $1 in\n\
             get) test -f {0} && cat {0} || {{ echo credentials not found in native keychain; exit 1; }};;\n\
             store) test -z \"$NOTATION_PASSWORD\" && cat > {0};;\n\
             erase) rm -f {0};;\nesac\n",
            kept.display()
        );
        let name = format!("docker-credential-{name}");
        program::write(&self.directory.path().join(name), &script);
    }

    fn store(&self) -> CredentialStore {
        let path = |name: &str| self.directory.path().join(name);
        CredentialStore::new(CredentialPlaces {
            notation: path("notation.json"),
            docker: Some(path("docker.json")),
            podman: vec![path("auth.json")],
            search_path: vec![self.directory.path().to_owned()],
        })
    }
}

fn password(username: &str, password: &str) -> Credential {
    Credential::from_user(username, password).unwrap()
}

fn auths(server: &str, pair: &str) -> String {
    format!(
        r#"{{"auths":{{"{server}":{{"auth":"{}"}}}}}}"#,
        STANDARD.encode(pair)
    )
}

#[tokio::test]
async fn the_first_file_that_speaks_of_credentials_is_used() {
    // CFG-22, CFG-24
    let fixture = Fixture::new();
    let store = fixture.store();
    assert_eq!(store.get("r.io").await.unwrap(), None);
    fixture.file("auth.json", &auths("r.io", "podman:p"));
    assert_eq!(
        store.get("r.io").await.unwrap(),
        Some(password("podman", "p"))
    );
    fixture.file("docker.json", &auths("https://r.io/v1/", "docker:d:d"));
    assert_eq!(
        store.get("r.io").await.unwrap(),
        Some(password("docker", "d:d"))
    );
    fixture.file("notation.json", r#"{"insecureRegistries":["x"]}"#);
    assert_eq!(
        store.get("r.io").await.unwrap(),
        Some(password("docker", "d:d"))
    );
    fixture.file("notation.json", &auths("r.io", "notation:n"));
    assert_eq!(
        store.get("r.io").await.unwrap(),
        Some(password("notation", "n"))
    );
    // Another port is another registry.
    assert_eq!(store.get("r.io:5000").await.unwrap(), None);
}

/// SEC-20: a login that was encoded twice, or put where the file belongs, is not told.
#[tokio::test]
async fn sec_20_a_malformed_file_is_told_without_its_text() {
    let fixture = Fixture::new();
    let login = STANDARD.encode("u:secret");
    for content in [format!("\"{login}\""), format!(r#"{{"auths":"{login}"}}"#)] {
        fixture.file("docker.json", &content);
        let error = fixture.store().get("r.example").await.unwrap_err().told();
        assert!(error.contains("malformed config.json"), "{error}");
        assert!(!error.contains(&login), "{error}");
    }
}

/// The entries of all files, the most particular first, as the kubelet tries them.
#[test]
fn credentials_for_an_image() {
    let file = |auths: &[(&str, &str)]| {
        let entry = |(server, pair): &(&str, &str)| {
            format!(r#""{server}":{{"auth":"{}"}}"#, STANDARD.encode(pair))
        };
        let entries: Vec<_> = auths.iter().map(entry).collect();
        let json = format!(r#"{{"auths":{{{}}}}}"#, entries.join(","));
        (
            PathBuf::from("file"),
            ConfigFile::parse(json.as_bytes()).unwrap(),
        )
    };
    let files = [
        file(&[("r.example", "all:1"), ("*.example", "glob:1")]),
        file(&[("r.example/team", "team:2"), ("r.example", "all:2")]),
        file(&[("other.example", "other:3")]),
    ];
    let names = |repository: &str| -> Vec<String> {
        let found = for_image(&files, repository).unwrap();
        let name = |credential| match credential {
            Credential::Password { username, password } => {
                format!("{username}:{}", password.expose())
            }
            other => panic!("{other:?}"),
        };
        found.into_iter().map(name).collect()
    };
    assert_eq!(
        names("r.example/team/app"),
        ["team:2", "all:1", "all:2", "glob:1"]
    );
    assert_eq!(names("r.example/app"), ["all:1", "all:2", "glob:1"]);
    assert_eq!(names("s.example/app"), ["glob:1"]);
    assert!(names("s.other.net/app").is_empty());
    let bad = br#"{"auths":{"r.example":{"auth":"?"}}}"#;
    let bad = (PathBuf::from("bad"), ConfigFile::parse(bad).unwrap());
    let error = for_image(&[bad], "r.example/app").unwrap_err().told();
    assert!(error.starts_with("bad: the entry for r.example"), "{error}");
}

#[tokio::test]
async fn kinds_of_entries() {
    // CFG-23, REG-08
    let fixture = Fixture::new();
    fixture.file(
        "docker.json",
        r#"{"auths":{
            "https://index.docker.io/v1/":{"username":"u","password":"p"},
            "identity.io":{"identitytoken":"t"},
            "access.io":{"registrytoken":"t"},
            "empty.io":{},
            "bad.io":{"auth":"%"}
        }}"#,
    );
    let store = fixture.store();
    let token = || Secret::new("t");
    for (server, expected) in [
        ("docker.io", Some(password("u", "p"))),
        ("registry-1.docker.io", Some(password("u", "p"))),
        ("identity.io", Some(Credential::RefreshToken(token()))),
        ("access.io", Some(Credential::AccessToken(token()))),
        ("empty.io", None),
    ] {
        assert_eq!(store.get(server).await.unwrap(), expected, "{server}");
    }
    assert!(matches!(
        store.get("bad.io").await,
        Err(CredentialError::Entry { .. })
    ));
}

#[tokio::test]
async fn helpers_get_store_and_erase() {
    // CFG-23
    let fixture = Fixture::new();
    fixture.helper("test");
    fixture.file(
        "docker.json",
        r#"{"credHelpers":{"r.io":"test"},"credsStore":"absent"}"#,
    );
    let store = fixture.store();
    assert_eq!(store.get("r.io").await.unwrap(), None);
    for credential in [
        password("u", "p\"q"),
        Credential::RefreshToken(Secret::new("t")),
    ] {
        store.put("r.io", &credential).await.unwrap();
        assert_eq!(store.get("r.io").await.unwrap(), Some(credential));
    }
    assert!(store.erase("r.io").await.unwrap().was_stored);
    assert!(!store.erase("r.io").await.unwrap().was_stored);
    // Nothing was to be taken out of the file, so it was not locked either.
    assert!(!fixture.directory.path().join("docker.json.lock").exists());
    assert_eq!(store.get("r.io").await.unwrap(), None);
    let error = store.get("other.io").await.unwrap_err();
    assert!(matches!(
        error,
        CredentialError::Helper {
            source: HelperError::NotFound { .. },
            ..
        }
    ));
}

#[tokio::test]
async fn the_platform_s_helper_is_the_last_resort() {
    // CFG-22
    let fixture = Fixture::new();
    let store = fixture.store();
    let credential = password("u", "p");
    assert!(matches!(
        store.put("r.io", &credential).await,
        Err(CredentialError::NoHelper)
    ));
    fixture.helper(platform_helpers()[0]);
    store.put("r.io", &credential).await.unwrap();
    assert_eq!(store.get("r.io").await.unwrap(), Some(credential));
}

#[tokio::test]
async fn plain_text_is_removed_and_never_written() {
    // CFG-08, CFG-24
    let fixture = Fixture::new();
    let path = fixture.file(
        "notation.json",
        r#"{"auths":{"r.io":{"auth":"dTpw"}},"other":1}"#,
    );
    let store = fixture.store();
    assert!(matches!(
        store.put("r.io", &password("u", "new")).await,
        Err(CredentialError::NoHelper)
    ));
    assert!(store.erase("r.io").await.unwrap().was_stored);
    assert!(!store.erase("r.io").await.unwrap().was_stored);
    let left: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    assert_eq!(left, serde_json::json!({"auths": {}, "other": 1}));
}

#[tokio::test]
async fn helper_names_are_no_paths() {
    // SEC-04
    let fixture = Fixture::new();
    fixture.file("docker.json", r#"{"credsStore":"../../bin/sh"}"#);
    let error = fixture.store().get("r.io").await.unwrap_err();
    assert!(matches!(
        error,
        CredentialError::Helper {
            source: HelperError::Name { .. },
            ..
        }
    ));
}

/// CFG-22, REG-08: a registry's login is found under every spelling of its name, and no other's is.
#[tokio::test]
async fn cfg_22_names_in_every_spelling() {
    let fixture = Fixture::new();
    let store = fixture.store();
    for (kept, asked) in [
        ("GHCR.io", "ghcr.io"),
        ("https://GHCR.IO/v2/", "ghcr.io"),
        ("ghcr.io:443", "ghcr.io"),
        ("ghcr.io", "GHCR.IO"),
        ("registry.example:05000", "registry.example:5000"),
        ("[2001:DB8::0:1]:5000", "[2001:db8::1]:5000"),
        ("http://localhost:5000/", "LOCALHOST:5000"),
        ("docker.io", "index.docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("https://index.docker.io/v1/", "registry-1.docker.io"),
    ] {
        fixture.file("docker.json", &auths(kept, "u:p"));
        assert_eq!(
            store.get(asked).await.unwrap(),
            Some(password("u", "p")),
            "{kept} {asked}"
        );
        assert!(
            store.erase(asked).await.unwrap().was_stored,
            "{kept} {asked}"
        );
        assert_eq!(store.get(asked).await.unwrap(), None, "{kept} {asked}");
    }
    for (kept, asked) in [
        ("ghcr.io", "ghcr.io:5000"),
        ("ghcr.io.evil", "ghcr.io"),
        ("[::1]:5000", "[::2]:5000"),
        ("[::1]", "[::1]:5000"),
        ("docker.io:5000", "docker.io"),
        ("auth.docker.io", "docker.io"),
    ] {
        fixture.file("docker.json", &auths(kept, "u:p"));
        assert_eq!(store.get(asked).await.unwrap(), None, "{kept} {asked}");
        assert!(
            !store.erase(asked).await.unwrap().was_stored,
            "{kept} {asked}"
        );
    }
}

/// CFG-22: entries as Go reads them.
#[tokio::test]
async fn cfg_22_entries_as_go_reads_them() {
    let fixture = Fixture::new();
    let store = fixture.store();
    let login = Some(password("user", "pass"));
    for (entry, expected) in [
        (r#"{"auth":"dXNlcj\npwYXNz\r\n"}"#, &login),
        (r#"{"AUTH":"dXNlcjpwYXNz"}"#, &login),
        (r#"{"auth":"eA==","Auth":"dXNlcjpwYXNz"}"#, &login),
        (r#"{"Username":"user","PASSWORD":"pass"}"#, &login),
        (r#"{"auth":"dXNlcjpwYXNzAAA="}"#, &login),
        // Bits that are left over.
        (r#"{"auth":"dXNlcjpwYXNzAB=="}"#, &login),
        (r#"{"auth":null,"identitytoken":""}"#, &None),
        (r#"{"auth":"Og=="}"#, &None),
        ("null", &None),
    ] {
        fixture.file("docker.json", &format!(r#"{{"auths":{{"r.io":{entry}}}}}"#));
        assert_eq!(store.get("r.io").await.unwrap(), *expected, "{entry}");
    }
    for entry in [
        r#"{"auth":"dXNl cg=="}"#,
        r#"{"auth":"eA=="}"#,
        r#"{"auth":7}"#,
        "[]",
    ] {
        fixture.file("docker.json", &format!(r#"{{"auths":{{"r.io":{entry}}}}}"#));
        let error = store.get("r.io").await.unwrap_err();
        assert!(matches!(error, CredentialError::Entry { .. }), "{entry}");
    }
    let twice = r#"{"auths":{"r.io":{"auth":"eA=="},"r.io":{"auth":"dXNlcjpwYXNz"}}}"#;
    fixture.file("docker.json", twice);
    assert_eq!(store.get("r.io").await.unwrap(), login);
}

/// CFG-23: a helper's answer with nothing in it is no credential.
#[tokio::test]
async fn cfg_23_answers_of_helpers() {
    let fixture = Fixture::new();
    fixture.file("docker.json", r#"{"credsStore":"test"}"#);
    let store = fixture.store();
    for (answer, expected) in [
        (r#"{"Username":"","Secret":""}"#, None),
        ("{}", None),
        (r#"{"Username":"<token>","Secret":""}"#, None),
        (r#"{"username":"u","SECRET":"p"}"#, Some(password("u", "p"))),
        (
            r#"{"Username":"x","Username":"u","Secret":"p"}"#,
            Some(password("u", "p")),
        ),
    ] {
        fixture.helper("test");
        fixture.file("kept", answer);
        assert_eq!(store.get("r.io").await.unwrap(), expected, "{answer}");
    }
    // Never more of an answer than that it can't be read.
    fixture.file("kept", r#"{"Username":"u","Secret":12345678}"#);
    let text = store.get("r.io").await.unwrap_err().told();
    assert!(
        text.contains("cannot be read") && !text.contains("12345678"),
        "{text}"
    );
}

/// CLI-62: a login that is Podman's is not ours to remove, and is told of.
#[tokio::test]
async fn cli_62_podmans_login_stays() {
    let fixture = Fixture::new();
    let path = fixture.file("auth.json", &auths("r.io", "u:p"));
    let erased = fixture.store().erase("r.io").await.unwrap();
    let path = fs::canonicalize(path).unwrap();
    assert_eq!(
        erased,
        Erased {
            was_stored: false,
            left_in: Some(path)
        }
    );
}
