//! `hardsign policy test`: what a trust policy would make of artifacts. Nothing is changed, and an
//! artifact that would be refused stops nothing.

use std::ops::ControlFlow;

use hardsign_core::artifact::Descriptor;
use hardsign_core::batch;
use hardsign_core::budget::Phase;
use hardsign_core::oci::registry::Access;
use hardsign_core::policy::oci;
use hardsign_core::verify::{Options, Outcome, Policy, Verified};
use serde_json::{Map, Value, json};

use super::super::repository::{self, Named, Opener};
use super::super::{Context, verify};
use crate::args::Output;
use crate::args::policy::TestArgs;
use crate::failure::verification::{Asked, Refusal, refusal};
use crate::failure::{Exit, Failure};
use crate::output::{Mark, json, one_line};

/// What the policy makes of one artifact.
struct Judged {
    reference: String,
    result: Result<(Descriptor, Outcome), Refusal>,
}

/// How many of each there are.
#[derive(Default)]
struct Count {
    allowed: usize,
    skipped: usize,
    refused: usize,
    /// Of the refused, those about which a registry or plugin gave no answer.
    unreachable: usize,
}

pub(in crate::command) fn run(args: TestArgs, context: &Context) -> Result<(), Failure> {
    let references = repository::expand(args.references, false)?;
    repository::one_registry(&references, &args.registry)?;
    let dirs = context.dirs()?;
    let policy: Policy<oci::Document> = verify::load(args.policy_file.as_deref(), &dirs, context)?;
    let verifier = verify::verifier(&dirs, context);
    let opener = Opener::new(&args.registry, Access::Read, &dirs, context)?;
    let options = Options::new(context.now())
        .max_signatures(args.max_signatures)
        .observer(&*context.console);
    let asked = Asked::Artifact {
        flags: &args.registry.words(),
        policy: args.policy_file.as_deref(),
    };
    let judge = async |named: Named| {
        let budget = args.deadline.budget();
        let result = async {
            let target = opener.open_one(&named)??;
            let resolve = async { Ok::<_, Failure>(target.place.resolve(&target.target).await?) };
            let artifact = budget.run(Phase::Resolving, resolve).await?;
            let name = target.place.name();
            let scope = args.scope.as_deref().unwrap_or(&name);
            let options = options.now(context.now()).budget(&budget);
            let outcome = verifier
                .verify_artifact(&policy, &*target.place, scope, &artifact, options)
                .await
                .map_err(|error| {
                    refusal(&error, &asked, context.program, context.console.err_width())
                })?;
            Ok((artifact, outcome))
        }
        .await;
        Judged {
            reference: named.text,
            result,
        }
    };
    let total = references.len();
    let (count, results) = context.wait(async {
        let (mut count, mut results) = (Count::default(), Vec::new());
        let progress = context.console.progress("testing", total);
        let mut printing = Ok(());
        let judge = |named| progress.count(judge(named));
        batch::in_order(references, IN_FLIGHT, judge, |judged| {
            printing = count.print(&judged, context);
            results.push(document(&judged));
            match printing {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        })
        .await;
        drop(progress);
        printing.map(|()| (count, results))
    })?;
    let source = policy.source();
    match args.output {
        Output::Json => context.console.json(&json!({
            "policy": {"path": source.path, "sha256": hex::encode(source.sha256)},
            "allowed": count.allowed,
            "skipped": count.skipped,
            "refused": count.refused,
            "artifacts": results,
        }))?,
        Output::Text => context.console.line(format_args!(
            "{} allowed, {} skipped, {} refused under {}",
            count.allowed,
            count.skipped,
            count.refused,
            source.path.display()
        ))?,
    }
    let exit = match (count.refused, count.unreachable) {
        (0, _) => return Ok(()),
        (refused, unreachable) if refused == unreachable => Exit::Unreachable,
        _ => Exit::Failed,
    };
    Err(Failure::new(
        exit,
        match (count.refused, total) {
            (1, 1) => "the policy refuses this artifact".to_owned(),
            (refused, _) => format!("the policy refuses {refused} of {total} artifacts"),
        },
    ))
}

impl Count {
    fn print(&mut self, judged: &Judged, context: &Context) -> Result<(), Failure> {
        let reference = one_line(&judged.reference);
        let (mark, verdict, lines) = match &judged.result {
            Ok((_, Outcome::Verified(verified))) => {
                self.allowed += 1;
                (Mark::Good, "allowed", why(verified))
            }
            Ok((_, Outcome::Skipped(skipped))) => {
                self.skipped += 1;
                let line = format!(
                    "statement {:?} skips signature verification",
                    skipped.statement
                );
                (Mark::Doubtful, "skipped", vec![line])
            }
            Err(refusal) => {
                self.refused += 1;
                self.unreachable += usize::from(refusal.failure.exit == Exit::Unreachable);
                let failure = &refusal.failure;
                let hint = failure.hint.iter().map(|hint| format!("hint: {hint}"));
                let lines = failure.messages.iter().cloned().chain(hint).collect();
                (Mark::Bad, "refused", lines)
            }
        };
        let console = &context.console;
        console.verdict(mark, verdict, format_args!("  {reference}"))?;
        for line in lines.iter().flat_map(|line| line.lines()) {
            console.line(format_args!("         {line}"))?;
        }
        Ok(())
    }
}

/// Under which statement, and who signed.
fn why(verified: &Verified) -> Vec<String> {
    let mut lines = vec![format!(
        "statement {:?}, level {}",
        verified.statement(),
        verified.level()
    )];
    for accepted in verified.signatures() {
        let signature = accepted.signature.signature();
        lines.push(format!(
            "signed by \"{}\" at {}",
            one_line(&signature.chain().leaf().subject().to_string()),
            signature.attributes().signing_time
        ));
    }
    for attached in verified.attached() {
        lines.push(format!(
            "attached: {} {}",
            attached.artifact_type, attached.digest
        ));
    }
    lines
}

/// `docs/json.md` describes it.
fn document(judged: &Judged) -> Value {
    let (outcome, said) = match &judged.result {
        Ok((_, Outcome::Verified(verified))) => {
            ("allowed", verify::describe(verified, "reference", &[]))
        }
        Ok((artifact, Outcome::Skipped(skipped))) => {
            let artifact = json::descriptor(artifact);
            (
                "skipped",
                json!({"artifact": artifact, "statement": skipped.statement}),
            )
        }
        Err(refusal) => (
            "refused",
            json!({
                "error": refusal.error,
                "detail": refusal.failure.hint,
                "notAccepted": refusal.not_accepted,
            }),
        ),
    };
    let mut members = Map::new();
    members.insert("reference".to_owned(), judged.reference.clone().into());
    members.insert("outcome".to_owned(), outcome.into());
    if let Value::Object(mut said) = said {
        said.shift_remove("reference");
        // Said once, for all of them.
        said.shift_remove("policy");
        members.extend(said);
    }
    Value::Object(members)
}

/// Artifacts that are verified at a time.
const IN_FLIGHT: usize = 8;
