//! Control planes of more than one node: one acts at a time, by a lock in their own etcd. Real members, mutual TLS.

mod support;

use support::cluster::Cluster;

#[test]
fn the_members_of_three_nodes_find_each_other() {
    let cluster = Cluster::start(3);
    let (done, said) = cluster.ctl(2, &["member", "list"]);
    assert!(done && said.lines().count() == 3, "{said}");
    assert!(cluster.keys(0).is_empty());
    cluster.run(0, &["renew", "all"]).exits(0);
}
