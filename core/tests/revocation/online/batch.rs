//! What a checker remembers (REV-29).

use hardsign_test_support::certificate;
use hardsign_test_support::registry::Response;
use hardsign_test_support::revocation::{Ocsp, Single, ago, invalidity_date};

use super::{Page, Scene};
use crate::{SERIAL, leaf};

/// REV-29: a batch asks once, also at the same time, until the answer expires. What a signing
/// authority dates is another question.
#[tokio::test]
async fn a_batch_asks_once() {
    let scene = Scene::new();
    let leaf = scene.leaf(Some("/ocsp"), None);
    let single = Single::good(SERIAL, &scene.pki.ca)
        .revoked(Some(1))
        .change(|s| s.extensions = vec![invalidity_date(ago(1000))]);
    let response = Ocsp::of(&[single], &scene.pki.ca).sign(&scene.pki.ca);
    scene.server.serve("/ocsp", &response);
    let online = scene.online();
    let many = (0..20).map(|_| scene.check(&online, &leaf));
    for checked in futures_util::future::join_all(many).await {
        assert_eq!(checked[0].status.name(), "revoked");
    }
    assert_eq!(scene.asked(), ["GET /ocsp"]);
    // REV-25
    let (early, now) = (Some(ago(1001)), certificate::now());
    let checked = scene.check_at(&online, &leaf, early, now).await;
    assert_eq!(checked[0].status.name(), "good");
    assert_eq!(scene.asked(), ["GET /ocsp"]);
    // After nextUpdate.
    let checked = scene.check_at(&online, &leaf, None, ago(-25 * 3600)).await;
    assert_eq!(checked[0].status.name(), "unknown");
    assert_eq!(scene.asked(), ["GET /ocsp"]);
    // Nothing is kept for the next run.
    assert_eq!(scene.status(&leaf).await, "revoked");
    assert_eq!(scene.asked(), ["GET /ocsp"]);
}

/// REV-29: certificates of one CA share its CRL, good or not.
#[tokio::test]
async fn one_crl_for_many_certificates() {
    let scene = Scene::new();
    let url = scene.server.url("/crl");
    let leaves: Vec<_> = (1..=10)
        .map(|n| {
            leaf(&scene.pki, |l| {
                l.crl(&url).change(|l| l.serial = vec![2, 1, n])
            })
        })
        .collect();
    scene.serve_crl("/crl", &scene.crl().lists(&[2, 1, 4], None));
    let online = scene.online();
    let all = leaves.iter().map(|leaf| scene.check(&online, leaf));
    let all = futures_util::future::join_all(all).await;
    let revoked = all
        .iter()
        .filter(|c| c[0].status.name() == "revoked")
        .count();
    let good = all.iter().filter(|c| c[0].status.name() == "good").count();
    assert_eq!((revoked, good), (1, 9));
    assert_eq!(scene.asked(), ["GET /crl"]);

    let expired = scene.crl().change(|crl| crl.next_update = Some(ago(1)));
    let expired = expired.sign(&scene.pki.ca);
    let pages: [Page; 2] = [
        Box::new(|| Response::status(500)),
        Box::new(move || Response::bytes(200, expired.clone())),
    ];
    for page in pages {
        scene.server.answer("/crl", page);
        let online = scene.online();
        for leaf in &leaves {
            let checked = scene.check(&online, leaf).await;
            assert_eq!(checked[0].status.name(), "unknown");
        }
        assert_eq!(scene.asked(), ["GET /crl"]);
    }
}
