//! Containers of one image that start at the same time, on a host whose nodes nobody made yet.

use crate::extent;
use crate::listing;
use crate::picture::Picture;
use crate::quiet;
use crate::scenarios::MISSING_NODES;
use crate::setting::Setting;
use std::sync::Barrier;
use std::thread;

/// How many start at once.
const CONTAINERS: usize = 6;

/// The same driver and image for all.
fn share(one: &Setting, other: &mut Setting) {
    let (driver, image) = (one.world.driver.path(""), one.world.path("image"));
    other.world.arguments[2] = driver.display().to_string();
    let image = image.display();
    let mount = format!("mount -t overlay overlay -o lowerdir={image},upperdir=$UPPER,workdir=$WORK $ROOT");
    other.world.mounts[0] = mount.leak();
}

#[test]
fn containers_that_start_at_once_are_whole_and_make_each_node_of_the_host_once() {
    let _others = quiet::share();
    let Some(mut first) = Setting::new(&MISSING_NODES) else { return };
    first.begin();
    assert_eq!(first.world.hook().code, Some(0));
    let (whole, nodes) = (Picture::of(&first), listing::of(&first.world.driver.path("")));
    let rounds = extent::times(5, 500);
    let (begin, end) = (Barrier::new(CONTAINERS + 1), Barrier::new(CONTAINERS + 1));
    thread::scope(|scope| {
        for _ in 0..CONTAINERS {
            let (first, whole, begin, end) = (&first, &whole, &begin, &end);
            scope.spawn(move || {
                let mut setting = Setting::new(&MISSING_NODES).unwrap();
                share(first, &mut setting);
                let mut wrong = Vec::new();
                for _ in 0..rounds {
                    setting.begin();
                    begin.wait();
                    let ended = setting.world.hook();
                    end.wait();
                    wrong.extend(listing::difference(&whole.files, &Picture::of(&setting).files));
                    if ended.code != Some(0) || !ended.says.is_empty() {
                        wrong.push(format!("{ended:?}"));
                    }
                }
                assert_eq!(wrong, Vec::<String>::new());
            });
        }
        for _ in 0..rounds {
            first.remove_nodes();
            begin.wait();
            end.wait();
            let now = listing::of(&first.world.driver.path(""));
            assert_eq!(listing::difference(&nodes, &now), Vec::<String>::new());
        }
    });
}

#[test]
fn hooks_of_one_container_in_a_row_leave_its_next_start_whole() {
    let _others = quiet::share();
    let Some(mut setting) = Setting::new(&MISSING_NODES) else { return };
    setting.begin();
    assert_eq!(setting.world.hook().code, Some(0));
    let whole = Picture::of(&setting);
    for _ in 0..extent::times(10, 300) {
        for _ in 0..3 {
            let ended = setting.world.hook();
            assert!(matches!(ended.code, Some(0 | 5)), "{ended:?}");
        }
        setting.start();
        let ended = setting.world.hook();
        assert_eq!((ended.code, ended.says.as_str()), (Some(0), ""));
        // Each hook takes another place for its view.
        let wrong = whole.difference(&Picture::of(&setting));
        let is_place =
            |line: &String| ["+ run ", "+ run/nvbind "].iter().any(|place| line.starts_with(place));
        assert_eq!(
            wrong.into_iter().filter(|line| !is_place(line)).collect::<Vec<_>>(),
            Vec::<String>::new()
        );
    }
}
