//! Names of one object, none of which may occur twice.

use std::collections::HashSet;

/// What is known of the names of an object with many members.
#[derive(Default)]
pub(super) struct Names(HashSet<String>);

impl Names {
    /// Whether the name is none of the earlier ones, all of which were asked about in their turn.
    pub(super) fn is_new<'a>(
        &mut self,
        name: &str,
        mut earlier: impl ExactSizeIterator<Item = &'a str>,
    ) -> bool {
        let count = earlier.len();
        if count < FEW {
            return earlier.all(|other| other != name);
        }
        if count == FEW {
            self.0.extend(earlier.map(str::to_owned));
        }
        self.0.insert(name.to_owned())
    }
}

/// Names are compared one by one among so few, and looked up among more, so that a hostile object costs no
/// more than a straight line.
const FEW: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_few_and_of_many_is_new_once() {
        let all: Vec<_> = (0..3 * FEW).map(|number| number.to_string()).collect();
        for count in 1..=all.len() {
            for again in 0..count {
                let mut names = Names::default();
                for (earlier, name) in all[..count].iter().enumerate() {
                    let earlier = all[..earlier].iter().map(String::as_str);
                    assert!(names.is_new(name, earlier), "{name}");
                }
                let earlier = all[..count].iter().map(String::as_str);
                assert!(!names.is_new(&all[again], earlier), "{again} of {count}");
            }
        }
    }
}
