use super::*;

fn both() -> [Keyspace; 2] {
    [Keyspace::new(16), Keyspace::new(16).on_cluster()]
}

#[track_caller]
fn share_a_slot(call: &str, keys: &[String]) {
    let slots: Vec<u16> = keys
        .iter()
        .map(|key| redis_keyslot(key.as_bytes()))
        .collect();
    assert!(
        slots.iter().all(|slot| *slot == slots[0]),
        "{call} would touch several slots: {keys:?}"
    );
}

#[test]
fn channels_name_their_owner() {
    for keyspace in both() {
        let (conversation, user) = (ConversationId::generate(), UserId::generate());
        let (room, own) = (keyspace.room(conversation), keyspace.user(user));
        assert_eq!(Keyspace::parse_room(&room), Some(conversation));
        assert_eq!(Keyspace::parse_user(&own), Some(user));
        assert_eq!(Keyspace::parse_room(&keyspace.history(conversation)), None);
        assert_eq!(Keyspace::parse_user(&keyspace.user_history(user)), None);
        let node = NodeId::generate();
        for partition in keyspace.partitions() {
            let channel = keyspace.node_on(partition, node);
            assert_eq!(Keyspace::parse_node(&channel), Some(partition));
            assert_eq!(Keyspace::parse_room(&channel), None);
        }
        assert_eq!(
            keyspace.node(node),
            keyspace.node_on(keyspace.home(node), node)
        );
        assert_eq!(Keyspace::parse_node(&room), None);
        assert_eq!(Keyspace::parse_node(&own), None);
    }
}

/// A cluster refuses a call that touches several slots. Each line is one call: a script's keys, or one command's.
#[test]
fn what_one_call_touches_is_on_one_slot() {
    let keyspace = Keyspace::new(16).on_cluster();
    for _ in 0..200 {
        let conversations = [ConversationId::generate(), ConversationId::generate()];
        let (node, user) = (NodeId::generate(), UserId::generate());
        let stay = Stay::first(node);
        for conversation in conversations {
            let partition = keyspace.partition(conversation);
            share_a_slot(
                "fan_out",
                &[
                    Keyspace::lease(partition),
                    keyspace.position(partition),
                    keyspace.history_window(partition),
                    keyspace.room(conversation),
                    keyspace.history(conversation),
                ],
            );
            let present = keyspace.present(conversation);
            share_a_slot(
                "room_enter, room_exit",
                &[present, keyspace.room(conversation)],
            );
            share_a_slot(
                "ingress_append, ingress_read, ingress_claim, epoch",
                &[
                    Keyspace::ingress(partition),
                    Keyspace::partition_epoch(partition),
                    Keyspace::lease(partition),
                    keyspace.memory(partition),
                    keyspace.position(partition),
                ],
            );
        }
        let home = keyspace.home_of_user(user);
        share_a_slot(
            "notify",
            &[
                keyspace.position(home),
                keyspace.history_window(home),
                keyspace.user_history(user),
                keyspace.user(user),
            ],
        );
        let home = keyspace.home(node);
        share_a_slot("tick", &[keyspace.position(home), keyspace.node(node)]);
        for partition in keyspace.partitions() {
            share_a_slot(
                "tick on every slot",
                &[
                    keyspace.position(partition),
                    keyspace.node_on(partition, node),
                ],
            );
        }
        let name = format!("{:032x}", user.0.as_u128());
        share_a_slot(
            "session_claim",
            &[
                keyspace.session_claim(name.as_str()),
                keyspace.memory(keyspace.home(name.as_str())),
            ],
        );
        for slot in UserSlot::all() {
            share_a_slot(
                "presence_put, presence_take, presence_reap",
                &[
                    keyspace.online(slot),
                    keyspace.unsaid(slot),
                    keyspace.stay_users(slot, stay),
                ],
            );
        }
        let subject = user.to_string();
        let home = keyspace.home(&subject);
        for class in ["messages", "login"] {
            share_a_slot(
                "limit",
                &[keyspace.limit(class, &subject), Keyspace::lease(home)],
            );
        }
    }
}

/// Else a server could lose its memory without anybody's noticing.
#[test]
fn every_key_is_on_some_partitions_slot() {
    let keyspace = Keyspace::new(5).on_cluster();
    let slots: Vec<u16> = keyspace
        .memories()
        .map(|partition| redis_keyslot(keyspace.memory(partition).as_bytes()))
        .collect();
    assert_eq!(slots.len(), 5);
    for _ in 0..50 {
        let (conversation, user, node) = (
            ConversationId::generate(),
            UserId::generate(),
            NodeId::generate(),
        );
        let stay = Stay::first(node);
        let mut keys = vec![
            keyspace.room(conversation),
            keyspace.present(conversation),
            keyspace.user(user),
            keyspace.session(&user.to_string()),
            keyspace.session_claim(user),
            keyspace.node(node),
            keyspace.node_lease(node),
            keyspace.stay_rooms(stay),
            keyspace.limit("messages", user),
            Keyspace::stays().to_owned(),
            Keyspace::gateways().to_owned(),
            Keyspace::workers().to_owned(),
        ];
        for slot in UserSlot::all() {
            keys.extend([keyspace.online(slot), keyspace.stay_users(slot, stay)]);
        }
        for key in keys {
            assert!(slots.contains(&redis_keyslot(key.as_bytes())), "{key}");
        }
    }
}

#[test]
fn one_redis_has_one_order_and_one_memory() {
    let keyspace = Keyspace::new(16);
    assert_eq!(keyspace.memories().count(), 1);
    let names = |name: fn(&Keyspace, Partition) -> String| {
        let mut names: Vec<String> = keyspace.partitions().map(|p| name(&keyspace, p)).collect();
        names.dedup();
        names.len()
    };
    assert_eq!(names(Keyspace::position), 1);
    assert_eq!(names(Keyspace::memory), 1);
    assert_eq!(names(Keyspace::history_window), 1);
}
