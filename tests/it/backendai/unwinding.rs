//! x

use super::clock;
use super::cluster::{ACCESS_KEY, Cluster, EMAIL, MODEL, PASSWORD, SECRET_KEY, changes};
use crate::unwind::{ENDPOINT, Ending, INSTANCE, Subject, Trial, World, everything, prove};
use testerd::demo::backendai::IMAGE;
use testerd::outcome::Verdict;

/// These specs on the stand-in
pub(crate) fn config(names: &str) -> String {
    format!(
        r#"[tester]
instance = "{INSTANCE}"
[target.cluster]
type = "backendai"
endpoint = "{ENDPOINT}"
access_key = "{ACCESS_KEY}"
secret_key = "{SECRET_KEY}"
[target.cluster.vars]
image = "{IMAGE}"
pause = "2s"
[target.web]
type = "backendai-web"
endpoint = "{ENDPOINT}"
secrets = {{ password = "{PASSWORD}" }}
[target.web.vars]
username = "{EMAIL}"
[[probe]]
name = "all"
target = "cluster"
interval = "1h"
names = [{names}]
"#
    )
}

#[test]
fn measure() {
    let t = std::time::Instant::now();
    let subjects = Subject::all(&config(r#""*""#));
    println!("{} subjects compile {:?}", subjects.len(), t.elapsed());
    clock::run(async {
        for subject in subjects {
            let subject = std::sync::Arc::new(subject);
            let t = std::time::Instant::now();
            match Trial::<Cluster>::new(&subject, Ending::Nothing, 0)
                .run()
                .await
            {
                Ok(ran) => println!(
                    "{} {:?} {} requests {} changing {} leaves {} writes {:?}",
                    subject.identity,
                    ran.verdict,
                    ran.requests.len(),
                    ran.requests.iter().filter(|r| changes(r)).count(),
                    subject.leaves,
                    ran.writes,
                    t.elapsed()
                ),
                Err(wrong) => println!("WRONG {wrong}"),
            }
        }
    });
}

#[test]
fn explore() {
    let names = std::env::var("UNWIND").unwrap_or("*".into());
    let subjects = Subject::all(&config(&format!("{names:?}")));
    let applies = subjects
        .into_iter()
        .filter(|s| !s.identity.spec.contains("imagify"))
        .collect();
    let t = std::time::Instant::now();
    let (count, wrong) = clock::run(prove::<Cluster>(
        applies,
        |_| Verdict::Pass,
        |subject, ran| everything(ran, subject.leaves),
    ));
    println!(
        "{count} in {:?}, {} wrong\n{}",
        t.elapsed(),
        wrong.len(),
        wrong.join("\n")
    );
}
