//! A rule on hardware: the key of each signature was made in a device of a known maker, can't leave it,
//! and is used as the rule says.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{HardsignError, RuleFault, known_only};
use crate::artifact::Quoted;
use crate::attestation::{Firmware, PinPolicy, Roots, TouchPolicy, UnknownName};
use crate::json::Value;
use crate::policy::reader::{self, Object};
use crate::x509::Certificate;

/// What evidence must prove. Evidence that came with the signature is meant, and nothing else: what a
/// module or a service says of its keys never counts.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct HardwareRule {
    makers: Vec<Maker>,
    /// Those of the makers; none until they were loaded, so that nothing is proven by then.
    roots: Roots,
    /// When the device may ask for its PIN; `None` for any policy.
    pub pin_policies: Option<Vec<PinPolicy>>,
    /// When it may ask for a touch; `None` for any policy.
    pub touch_policies: Option<Vec<TouchPolicy>>,
    /// The least firmware that may have made the key.
    pub least_firmware: Option<Firmware>,
    /// The devices; `None` for any of the makers'.
    pub serials: Option<BTreeSet<u32>>,
}

/// Whose word on a device counts.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Maker {
    /// Yubico, by the roots that came with hardsign.
    Yubico,
    /// Whoever has the roots in that file.
    File {
        /// The file, relative to the policy's if it is not absolute.
        path: PathBuf,
        /// Subjects of its certificates, once it was loaded.
        subjects: Vec<String>,
    },
}

/// What is wrong with a rule on hardware.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HardwareFault {
    /// A list that nothing could be in.
    #[error("\"hardware.{member}\" names nothing")]
    Empty {
        /// The list.
        member: &'static str,
    },
    /// A list with more than anybody has.
    #[error("\"hardware.{member}\" has {items} items, more than {most}")]
    TooMany {
        /// The list.
        member: &'static str,
        /// How many there are.
        items: usize,
        /// How many there may be.
        most: usize,
    },
    /// An item that stands there twice.
    #[error("\"hardware.{member}\" names {} more than once", Quoted(item))]
    Twice {
        /// The list.
        member: &'static str,
        /// The item.
        item: String,
    },
    /// No maker.
    #[error(
        "\"hardware.roots\": {} is neither \"yubico\" nor \"file:\" and the path of a file with a maker's roots",
        Quoted(root)
    )]
    Root {
        /// What stands there.
        root: String,
    },
    /// A policy or version that there is not.
    #[error("\"hardware.{member}\": {unknown}")]
    Name {
        /// The member.
        member: &'static str,
        /// What stands there.
        unknown: UnknownName,
    },
    /// No serial number of a YubiKey.
    #[error("\"hardware.serials\": {serial} is not a serial number of a device")]
    Serial {
        /// What stands there.
        serial: u64,
    },
    /// A file of roots with a certificate that vouches for nothing.
    #[error("{} contains {subject}, which is not a CA certificate", path.display())]
    NoCa {
        /// The file.
        path: PathBuf,
        /// Its subject.
        subject: String,
    },
    /// A file of roots without any.
    #[error("{} holds no certificate", path.display())]
    NoRoot {
        /// The file.
        path: PathBuf,
    },
}

impl HardwareRule {
    /// Any device of the makers whose roots came with hardsign: what is demanded for one run, where
    /// the policy demands nothing.
    pub fn of_the_box() -> Self {
        Self {
            makers: vec![Maker::Yubico],
            roots: Roots::in_the_box(),
            pin_policies: None,
            touch_policies: None,
            least_firmware: None,
            serials: None,
        }
    }

    /// Whose word counts.
    pub fn makers(&self) -> &[Maker] {
        &self.makers
    }

    /// Their roots.
    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    /// Loads the makers' roots. `read` gets a file's certificates by its path as it stands in the
    /// policy.
    pub(super) fn load<E>(
        &mut self,
        read: &mut impl FnMut(&Path) -> Result<Vec<Certificate>, E>,
    ) -> Result<Result<(), HardwareFault>, E> {
        let mut roots = match self.makers.contains(&Maker::Yubico) {
            true => Roots::in_the_box(),
            false => Roots::default(),
        };
        for maker in &mut self.makers {
            let Maker::File { path, subjects } = maker else {
                continue;
            };
            let certificates = read(path)?;
            if certificates.is_empty() {
                return Ok(Err(HardwareFault::NoRoot { path: path.clone() }));
            }
            if let Some(other) = certificates.iter().find(|root| !root.is_ca()) {
                return Ok(Err(HardwareFault::NoCa {
                    path: path.clone(),
                    subject: other.subject().quoted().to_string(),
                }));
            }
            let names = certificates.iter().map(|root| root.subject().to_string());
            *subjects = names.collect();
            roots = roots.and(certificates);
        }
        self.roots = roots;
        Ok(Ok(()))
    }
}

/// Reads `"hardware": {…}`. Two layers as in the parent module.
pub(super) fn read(
    statement: &Object<'_>,
) -> Result<Result<Option<HardwareRule>, RuleFault>, HardsignError> {
    let malformed = HardsignError::Malformed;
    let Some(object) = statement.object("hardware").map_err(malformed)? else {
        return Ok(Ok(None));
    };
    known_only(&object, &[ROOTS, PIN, TOUCH, FIRMWARE, SERIALS])?;
    let list = |member| match object.get(member) {
        None => Ok(None),
        Some(_) => object.strings(member).map(Some).map_err(malformed),
    };
    let texts = Texts {
        roots: list(ROOTS)?,
        pin_policies: list(PIN)?,
        touch_policies: list(TOUCH)?,
        least_firmware: match object.get(FIRMWARE) {
            None => None,
            Some(_) => Some(object.string(FIRMWARE).map_err(malformed)?.to_owned()),
        },
        serials: match object.get(SERIALS) {
            None => None,
            Some(_) => Some(numbers(&object)?),
        },
    };
    Ok(texts
        .check()
        .map(Some)
        .map_err(|fault| RuleFault::Hardware(Box::new(fault))))
}

fn numbers(object: &Object<'_>) -> Result<Vec<u64>, HardsignError> {
    let malformed = HardsignError::Malformed;
    let items = object.array(SERIALS).map_err(malformed)?.iter().enumerate();
    let number = |(index, item): (usize, &Value)| {
        let place = object.place().member(SERIALS).item(index, None);
        let number = item.as_u64();
        number.ok_or_else(|| malformed(reader::wrong(place, "a whole number", item)))
    };
    items.map(number).collect()
}

/// The members of a rule before their texts are looked at.
struct Texts {
    roots: Option<Vec<String>>,
    pin_policies: Option<Vec<String>>,
    touch_policies: Option<Vec<String>>,
    least_firmware: Option<String>,
    serials: Option<Vec<u64>>,
}

impl Texts {
    fn check(self) -> Result<HardwareRule, HardwareFault> {
        let makers = match self.roots {
            None => vec![Maker::Yubico],
            Some(roots) => {
                check_list(ROOTS, &roots, MAX_MAKERS)?;
                roots
                    .iter()
                    .map(|root| maker(root))
                    .collect::<Result<_, _>>()?
            }
        };
        let mut serials = None;
        if let Some(items) = self.serials {
            check_list(SERIALS, &items, MAX_SERIALS)?;
            let serial = |serial: u64| match u32::try_from(serial) {
                Ok(known @ 1..) => Ok(known),
                _ => Err(HardwareFault::Serial { serial }),
            };
            serials = Some(items.into_iter().map(serial).collect::<Result<_, _>>()?);
        }
        Ok(HardwareRule {
            makers,
            roots: Roots::default(),
            pin_policies: policies(PIN, self.pin_policies)?,
            touch_policies: policies(TOUCH, self.touch_policies)?,
            least_firmware: match self.least_firmware {
                None => None,
                Some(text) => Some(text.parse().map_err(|unknown| HardwareFault::Name {
                    member: FIRMWARE,
                    unknown,
                })?),
            },
            serials,
        })
    }
}

fn maker(text: &str) -> Result<Maker, HardwareFault> {
    match text.strip_prefix("file:") {
        None if text == "yubico" => Ok(Maker::Yubico),
        Some(path) if !path.is_empty() => Ok(Maker::File {
            path: PathBuf::from(path),
            subjects: Vec::new(),
        }),
        _ => Err(HardwareFault::Root {
            root: text.to_owned(),
        }),
    }
}

fn policies<P: std::str::FromStr<Err = UnknownName>>(
    member: &'static str,
    texts: Option<Vec<String>>,
) -> Result<Option<Vec<P>>, HardwareFault> {
    let Some(texts) = texts else {
        return Ok(None);
    };
    let parsed = texts.iter().map(|text| {
        text.parse()
            .map_err(|unknown| HardwareFault::Name { member, unknown })
    });
    let parsed = parsed.collect::<Result<_, _>>()?;
    check_list(member, &texts, texts.len())?;
    Ok(Some(parsed))
}

/// A list that is there names something, no more than anybody has, and nothing twice.
fn check_list<T: Ord + ToString>(
    member: &'static str,
    items: &[T],
    most: usize,
) -> Result<(), HardwareFault> {
    if items.is_empty() {
        return Err(HardwareFault::Empty { member });
    }
    if items.len() > most {
        return Err(HardwareFault::TooMany {
            member,
            items: items.len(),
            most,
        });
    }
    let mut seen = BTreeSet::new();
    match items.iter().find(|item| !seen.insert(*item)) {
        None => Ok(()),
        Some(item) => Err(HardwareFault::Twice {
            member,
            item: item.to_string(),
        }),
    }
}

const ROOTS: &str = "roots";
const PIN: &str = "pinPolicy";
const TOUCH: &str = "touchPolicy";
const FIRMWARE: &str = "leastFirmware";
const SERIALS: &str = "serials";

/// Most makers in one rule.
const MAX_MAKERS: usize = 16;

/// Most devices in one rule.
const MAX_SERIALS: usize = 10_000;
