//! The example of each action of Backend.AI passes on a cluster that is well, and leaves nothing.

use futures_util::future::join_all;
use testerd::backendai::ENTRIES;

use super::clock;
use super::cluster::Cluster;
use super::site::Site;

#[test]
fn every_example_passes_and_leaves_nothing() {
    clock::run(async {
        join_all(ENTRIES.iter().map(async |entry| {
            let example = entry.example;
            assert!(example.contains(&format!("use = \"{}\"", entry.name)));
            let cluster = Cluster::open(|_| {});
            // Images have to go somewhere; the state is shared.
            let _ = cluster.stand_in.clone().with_registry();
            let site = Site::with(cluster).await;
            let name = example.split('"').nth(1).unwrap();
            let told = site.run(&site.spec(name, example)).await;
            assert_eq!(told.ended(), "pass", "{}:\n{}", entry.name, told.story);
            site.assert_clean().await;
        }))
        .await;
    });
}
