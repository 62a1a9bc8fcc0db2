//! What a token allows: C_Sign in a loop in one process, and the files that a layout gets for each
//! signature. `scripts/bench` compares batches with it.
//!
//! `ceiling MODULE TOKEN PIN KEY TYPE COUNT DIRECTORY`, where TYPE is RSA-3072, EC-256 or EC-384, prints
//! signatures per second.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Instant;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, ObjectClass};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;

/// Sizes of the envelope and the manifest of a signature.
const FILES: [usize; 2] = [2200, 730];

#[allow(clippy::print_stdout, reason = "the figure")]
fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [module, token, pin, label, kind, count, directory] = arguments.as_slice() else {
        return Err("ceiling MODULE TOKEN PIN KEY TYPE COUNT DIRECTORY".into());
    };
    let count: u32 = count.parse()?;
    let directory = Path::new(directory);
    let context = Pkcs11::new(module)?;
    context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?;
    let slots = context.get_slots_with_token()?.into_iter();
    let mut slots = slots.filter(|slot| {
        let info = context.get_token_info(*slot);
        info.is_ok_and(|info| info.label() == token)
    });
    let session = context.open_ro_session(slots.next().ok_or("no such token")?)?;
    session.login(UserType::User, Some(&AuthPin::new(pin.as_str().into())))?;
    let wanted = [
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::Label(label.clone().into_bytes()),
    ];
    let found = session.find_objects(&wanted)?;
    let key = *found.first().ok_or("no such key")?;
    let (mechanism, length) = match kind.as_str() {
        "EC-256" => (Mechanism::Ecdsa, 32),
        "EC-384" => (Mechanism::Ecdsa, 48),
        _ => {
            let pss = PkcsPssParams {
                hash_alg: MechanismType::SHA384,
                mgf: PkcsMgfType::MGF1_SHA384,
                s_len: 48_u64.into(),
            };
            (Mechanism::RsaPkcsPss(pss), 48)
        }
    };
    let content = FILES.map(|size| vec![b'x'; size]);
    let began = Instant::now();
    for n in 0..count {
        let mut digest = vec![7; length];
        for (place, byte) in digest.iter_mut().zip(n.to_be_bytes()) {
            *place = byte;
        }
        session.sign(&mechanism, key, &digest)?;
        for (file, content) in content.iter().enumerate() {
            let new = directory.join("new");
            fs::write(&new, content)?;
            fs::rename(new, directory.join(format!("{n}-{file}")))?;
        }
    }
    println!("{:.1}", f64::from(count) / began.elapsed().as_secs_f64());
    Ok(())
}
