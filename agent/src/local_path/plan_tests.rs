use super::*;

fn name() -> Name {
    ("default".into(), "data".into())
}

fn cluster() -> Cluster {
    let claim = Claim {
        uid: "u1".into(),
        class: "local-path".into(),
        node: Some("n1".into()),
        size: "1Gi".into(),
        modes: vec!["ReadWriteOnce".into()],
        ..Claim::default()
    };
    Cluster {
        claims: BTreeMap::from([(name(), claim)]),
        classes: BTreeMap::from([("local-path".into(), Class::default())]),
        nodes: BTreeMap::from([("n1".into(), "h1".into())]),
        ..Cluster::default()
    }
}

fn volume() -> Volume {
    Volume {
        path: "/s/pvc-u1_default_data".into(),
        host: "h1".into(),
        ..Volume::default()
    }
}

#[test]
fn from_claim_to_volume_and_back() {
    let mut c = cluster();
    let (claim, node) = (name(), "n1".to_owned());
    assert_eq!(
        plan(&c),
        [Step::Make {
            claim: claim.clone(),
            node: node.clone()
        }]
    );
    let make = "local-path-make-u1".to_owned();
    c.helpers.insert(make.clone(), Helper::Busy);
    assert_eq!(plan(&c), []);
    c.helpers.insert(make.clone(), Helper::Failed);
    assert_eq!(plan(&c), [Step::Dismiss { helper: make.clone() }]);
    c.helpers.insert(make.clone(), Helper::Done);
    assert_eq!(plan(&c), [Step::Volume { claim, node: node.clone() }]);
    c.volumes.insert("pvc-u1".into(), volume());
    assert_eq!(plan(&c), [Step::Dismiss { helper: make.clone() }]);
    c.helpers.clear();
    c.claims.clear();
    assert_eq!(plan(&c), []);
    let volume = "pvc-u1".to_owned();
    c.volumes.get_mut(&volume).unwrap().to_go = true;
    assert_eq!(
        plan(&c),
        [Step::Remove {
            volume: volume.clone(),
            node
        }]
    );
    let remove = "local-path-remove-u1".to_owned();
    c.helpers.insert(remove.clone(), Helper::Busy);
    assert_eq!(plan(&c), []);
    c.helpers.insert(remove.clone(), Helper::Done);
    assert_eq!(plan(&c), [Step::Forget { volume: volume.clone() }]);
    c.volumes.clear();
    assert_eq!(plan(&c), [Step::Dismiss { helper: remove }]);
}

#[test]
fn whose_node_is_gone_is_forgotten_without_a_helper() {
    let mut c = cluster();
    c.claims.clear();
    c.nodes.clear();
    c.volumes.insert("pvc-u1".into(), Volume { to_go: true, ..volume() });
    assert_eq!(plan(&c), [Step::Forget { volume: "pvc-u1".into() }]);
}

#[test]
fn what_is_not_ours_to_do() {
    let changes: [fn(&mut Claim); 5] = [
        |c| c.node = None,
        |c| c.node = Some("unknown".into()),
        |c| c.bound = true,
        |c| c.deleted = true,
        |c| c.class = "other".into(),
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let mut c = cluster();
        c.claims.values_mut().for_each(change);
        assert_eq!(plan(&c), [], "{at}");
    }
}

#[test]
fn what_a_folder_cannot_be_is_said() {
    let refused = |change: fn(&mut Cluster)| {
        let mut c = cluster();
        change(&mut c);
        match plan(&c).as_slice() {
            [Step::Refuse { why, .. }] => why.clone(),
            other => panic!("{other:?}"),
        }
    };
    let mode: fn(&mut Cluster) = |c| c.claims.values_mut().for_each(|c| c.modes = vec!["ReadWriteMany".into()]);
    let block: fn(&mut Cluster) = |c| c.claims.values_mut().for_each(|c| c.block = true);
    let immediate: fn(&mut Cluster) = |c| c.classes.values_mut().for_each(|c| c.immediate = true);
    assert!(refused(mode).starts_with("ReadWriteMany: "));
    assert!(refused(block).contains("Filesystem"));
    assert!(refused(immediate).contains("WaitForFirstConsumer"));
}

#[test]
fn only_our_folders_are_ever_removed() {
    assert_eq!(split("/var/s/pvc-u_a_b"), Some(("/var/s", "pvc-u_a_b")));
    for path in ["/var/lib", "/", "", "pvc-u", "a/pvc-u", "/a/../pvc-u", "/s/pvc-u/..", "/s/other"] {
        assert_eq!(split(path), None, "{path}");
    }
}
