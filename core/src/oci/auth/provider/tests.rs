use std::fs;

use hardsign_test_support::{Told, program};
use tempfile::TempDir;

use super::*;

/// A node with one provider, a script that counts its runs.
struct Node(TempDir);

impl Node {
    fn new(script: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        fs::write(
            place.path().join("list.yaml"),
            "apiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig\nproviders:\n\
             - name: p\n  matchImages: [\"*.example\"]\n  defaultCacheDuration: 1h\n  \
             apiVersion: credentialprovider.kubelet.k8s.io/v1\n  args: [get]\n",
        )
        .unwrap();
        let path = place.path().join("p");
        let count = place.path().join("runs");
        let script = format!(
            "#!/bin/sh\ncat >>{count}\necho >>{count}\n{script}\n",
            count = count.display()
        );
        program::write(&path, &script);
        Self(place)
    }

    fn answering(key: &str, time: &str, auth: &str) -> Self {
        Self::new(&format!(
            r#"echo '{{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1","cacheKeyType":"{key}"{time},"auth":{auth}}}'"#
        ))
    }

    fn providers(&self) -> CredentialProviders {
        let list = self.0.path().join("list.yaml");
        CredentialProviders::load(&list, self.0.path()).unwrap()
    }

    fn runs(&self) -> Vec<String> {
        let asked = fs::read_to_string(self.0.path().join("runs")).unwrap_or_default();
        asked.lines().map(str::to_owned).collect()
    }
}

fn login(username: &str, password: &str) -> Option<Credential> {
    Some(Credential::Password {
        username: username.to_owned(),
        password: Secret::new(password),
    })
}

const AUTH: &str = r#"{"*.example":{"username":"u","password":"p\u0021"}}"#;

/// The question is the kubelet's, and no provider is asked of an image that is not its own.
#[tokio::test]
async fn a_provider_is_asked_as_the_kubelet_asks() {
    let node = Node::answering("Image", "", AUTH);
    let providers = node.providers();
    assert_eq!(providers.credential("other.test/app").await.unwrap(), None);
    let found = providers.credential("r.example/app").await.unwrap();
    assert_eq!(found, login("u", "p!"));
    assert_eq!(
        node.runs(),
        [
            r#"{"kind":"CredentialProviderRequest","apiVersion":"credentialprovider.kubelet.k8s.io/v1","image":"r.example/app"}"#
        ]
    );
}

/// An answer is kept for the image, the registry or all, as it says, and as long as it says.
#[tokio::test]
async fn answers_are_kept_as_they_say() {
    for (key, time, runs) in [
        ("Image", "", 3),
        ("Registry", "", 2),
        ("Global", "", 1),
        ("Global", r#","cacheDuration":"0s""#, 4),
        ("Global", r#","cacheDuration":"6h0m0s""#, 1),
    ] {
        let node = Node::answering(key, time, AUTH);
        let providers = node.providers();
        for image in ["a.example/x", "a.example/y", "b.example/x", "a.example/x"] {
            let found = providers.credential(image).await.unwrap();
            assert_eq!(found, login("u", "p!"));
        }
        assert_eq!(node.runs().len(), runs, "{key}{time}");
    }
}

/// What several ask for at once is asked once.
#[tokio::test]
async fn one_run_serves_all_who_wait() {
    let node = Node::answering("Registry", "", AUTH);
    let providers = node.providers();
    let ask = || providers.credential("a.example/x");
    let (a, b, c) = tokio::join!(ask(), ask(), ask());
    assert!([a, b, c].iter().all(|found| matches!(found, Ok(Some(_)))));
    assert_eq!(node.runs().len(), 1);
}

/// A provider that fails, or answers something else, is told of without what it said in secret.
#[tokio::test]
async fn a_bad_answer_is_an_error() {
    for (script, why) in [
        ("echo no login >&2; exit 1", "failed: \"no login\""),
        (
            "echo '{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"cacheKeyType\":\"Image\"}'",
            "it is of kind \"Pod\"",
        ),
        (
            "echo '{\"auth\":{\"x\":{\"password\":\"hunter2\"}}'",
            "it is not JSON",
        ),
        (
            "printf '{\"auth\":\"hunter2%0500d\"}' 0",
            "malformed at line 1, column",
        ),
        (
            "echo '{\"kind\":\"hunter2\",\"kind\":\"b\"}'",
            "a name in it occurs twice",
        ),
        ("head -c 2000000 /dev/zero; exit 0", "it is not JSON"),
    ] {
        let error = Node::new(script)
            .providers()
            .credential("a.example/x")
            .await;
        let told = error.unwrap_err().told();
        assert!(told.contains(why), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
    let node = Node::answering("Image", "", "null");
    let none = node.providers();
    assert_eq!(none.credential("a.example/x").await.unwrap(), None);
    let node = Node::answering("Pod", "", AUTH);
    let key = node.providers();
    let told = key.credential("a.example/x").await.unwrap_err().told();
    assert!(told.contains("cacheKeyType is \"Pod\""), "{told}");
}

/// Files and helpers come after the providers, and a mirror gets what is its own.
#[tokio::test]
async fn a_mirror_gets_no_credential_of_another() {
    let node = Node::answering("Image", "", AUTH);
    let docker = node.0.path().join("config.json");
    // The base64 of "d:file".
    fs::write(&docker, r#"{"auths":{"mirror.test":{"auth":"ZDpmaWxl"}}}"#).unwrap();
    let credentials = ImageCredentials {
        providers: Some(Arc::new(node.providers())),
        store: Arc::new(CredentialStore::new(super::super::CredentialPlaces {
            notation: node.0.path().join("none.json"),
            docker: Some(docker),
            ..Default::default()
        })),
        repository: "app".to_owned(),
    };
    let of = |registry| credentials.credential(registry);
    assert_eq!(of("r.example").await.unwrap(), login("u", "p!"));
    assert_eq!(of("mirror.test").await.unwrap(), login("d", "file"));
    assert_eq!(of("other.test").await.unwrap(), None);
    assert_eq!(node.runs().len(), 1);
    let shown = format!("{credentials:?}");
    assert!(!shown.contains("p!"), "{shown}");
}
