//! On a healthy node.
use super::node::Node;
use super::outage::baseline;

#[test]
fn renewals_on_a_running_control_plane() {
    let Some(node) = Node::up() else { return };
    println!("baseline {}", baseline(&node));
}
