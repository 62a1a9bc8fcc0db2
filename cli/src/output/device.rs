//! What a device states of itself and a key, as text and as JSON: of evidence that was proven, and of
//! what a signature claims.

use hardsign_core::attestation::{Attested, Device, PinPolicy, TouchPolicy};
use hardsign_core::policy::hardsign::{HardwareRule, Maker};
use serde_json::{Map, Value, json};

/// Name and value of each thing that the device states.
pub(crate) fn rows(device: &Device) -> Vec<(&'static str, String)> {
    let serial = device.serial.map(|serial| serial.to_string());
    let mut rows = vec![
        (
            "serial number",
            serial.unwrap_or_else(|| "not stated".to_owned()),
        ),
        ("firmware", device.firmware.to_string()),
    ];
    if let Some(form) = device.form_factor {
        rows.push(("form factor", form.to_string()));
    }
    rows.push(("slot", device.slot.clone()));
    rows.push(("PIN policy", device.pin_policy.to_string()));
    rows.push(("touch policy", device.touch_policy.to_string()));
    rows
}

/// What should be known of a key whose evidence is good.
pub(crate) fn warnings(attested: &Attested) -> Vec<&'static str> {
    let mut warnings = Vec::new();
    if attested.leaks_to_equipment() {
        warnings.push(
            "anyone with the device and costly equipment could extract the key: an elliptic-curve key \
             on firmware before 5.7 (YSA-2024-03)",
        );
    }
    if attested.device().pin_policy == PinPolicy::Never {
        warnings.push("anyone with the device can sign: the key requires no PIN");
    }
    warnings
}

/// The members of [`rows`]; `null` for what is not stated, or not known here.
pub(crate) fn stated(device: &Device) -> Map<String, Value> {
    let pin = device.pin_policy;
    let pin = (!matches!(pin, PinPolicy::Unknown(_))).then(|| pin.to_string());
    let touch = device.touch_policy;
    let touch = (!matches!(touch, TouchPolicy::Unknown(_))).then(|| touch.to_string());
    let members = [
        ("serialNumber", json!(device.serial)),
        ("firmware", json!(device.firmware.to_string())),
        (
            "formFactor",
            json!(device.form_factor.map(|form| form.to_string())),
        ),
        ("slot", json!(device.slot)),
        ("pinPolicy", json!(pin)),
        ("touchPolicy", json!(touch)),
    ];
    members
        .map(|(n, v)| (n.to_owned(), v))
        .into_iter()
        .collect()
}

/// All that was proven.
pub(crate) fn proven(attested: &Attested) -> Map<String, Value> {
    let device = attested.device();
    let root = attested.root().map(|root| root.subject().to_string());
    let mut members = stated(device);
    members.extend([
        ("fips".to_owned(), json!(device.fips)),
        ("cspn".to_owned(), json!(device.cspn)),
        ("root".to_owned(), json!(root)),
        ("warnings".to_owned(), json!(warnings(attested))),
    ]);
    members
}

/// A rule on hardware; `null` for what it does not limit.
pub(crate) fn rule(rule: &HardwareRule) -> Value {
    let roots: Vec<_> = rule.makers().iter().map(root).collect();
    json!({
        "roots": roots,
        "pinPolicy": rule.pin_policies.as_ref().map(|list| strings(list)),
        "touchPolicy": rule.touch_policies.as_ref().map(|list| strings(list)),
        "leastFirmware": rule.least_firmware.map(|least| least.to_string()),
        "serials": rule.serials,
    })
}

fn root(maker: &Maker) -> Value {
    match maker {
        Maker::File { path, subjects } => {
            json!({"name": format!("file:{}", path.display()), "subjects": subjects})
        }
        _ => {
            let roots = hardsign_core::attestation::Roots::in_the_box();
            let subjects = roots.certificates().iter().map(|c| c.subject().to_string());
            json!({"name": "yubico", "subjects": subjects.collect::<Vec<_>>()})
        }
    }
}

/// Their texts.
pub(crate) fn strings<T: ToString>(list: &[T]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}
