//! The dry run on LocalStack as it comes, without the plug-in.

use serde_json::Value;

use crate::cloud::{Cloud, lines};

#[test]
fn a_dry_run_works_on_stock_localstack_and_changes_nothing() {
    let endpoint = std::env::var("CGW_STOCK_URL").expect("tests/run starts a stock LocalStack");
    let cloud = Cloud::on(&endpoint, &[]);
    let before = cloud.dump();
    let (vpc, instance) = (cloud.id("cloud_vpc"), cloud.id("instance"));
    let run =
        cloud.cgw(&["up", "--dry-run", "--json", "--vpc", &vpc, "--instance", &instance]).ok();
    let plan = lines(&run.out).into_iter().find(|line| line["event"] == "plan").unwrap();
    let steps = plan["plan"]["changes"]["steps"].as_array().unwrap();
    let creates = |step: &&Value| step["change"] == "create";
    assert_eq!(steps.iter().filter(creates).count(), steps.len(), "{}", run.out);
    assert_eq!(steps.len(), 20);
    assert_eq!(cloud.dump(), before);
}
