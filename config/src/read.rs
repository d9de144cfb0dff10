//! One source, from bytes to a tree, whatever its kind; and the bounds on its size.

use crate::document::{self, Document};
use crate::report::Report;
use crate::salvage::salvage;
use crate::tree::{Mark, Node, Scalar, Value};
use crate::{Source, SourceKind, cmdline, seed, userdata};

/// How large a source may be.
pub(crate) const SOURCE_MAX: usize = 1 << 20;

pub(crate) const WHOLE: Mark = Mark { line: 0, column: 0 };

/// The tree of a source; `None` when it had to be refused as a whole, which the report then says.
pub(crate) fn read(source: &Source, report: &mut Report) -> Option<Node> {
    if source.bytes.len() > SOURCE_MAX {
        report.error(WHOLE, "", format!("larger than {} MiB", SOURCE_MAX >> 20), "");
        return None;
    }
    match source.kind {
        SourceKind::Cmdline => Some(cmdline::read(&String::from_utf8_lossy(&source.bytes))),
        SourceKind::MetadataHostname => Some(userdata::hostname(&String::from_utf8_lossy(&source.bytes))),
        SourceKind::MetadataKeys => Some(userdata::keys(&String::from_utf8_lossy(&source.bytes))),
        SourceKind::SeedMetaData => yaml(&source.bytes, report).map(|node| seed::meta_data(node, report)),
        SourceKind::SeedNetwork => yaml(&source.bytes, report).map(|node| seed::network(node, report)),
        SourceKind::SeedUserData => {
            let bytes = seed::user_data_bytes(&source.bytes, report)?;
            userdata::script(&bytes).or_else(|| yaml(&bytes, report).map(|node| seed::user_data(node, report)))
        }
        SourceKind::UserData => userdata::script(&source.bytes).or_else(|| yaml(&source.bytes, report)),
        _ => yaml(&source.bytes, report),
    }
}

fn yaml(bytes: &[u8], report: &mut Report) -> Option<Node> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        report.error(WHOLE, "", "the text is UTF-16", "save it as UTF-8");
        return None;
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = String::from_utf8_lossy(bytes);
    let damaged = matches!(text, std::borrow::Cow::Owned(_));
    let mut root = match document::read(&text) {
        Ok(Document { root, remarks }) => {
            remark(&remarks, report);
            root.unwrap_or(Node {
                mark: Mark { line: 1, column: 1 },
                value: Value::Scalar(crate::scalar::resolve("")),
            })
        }
        Err(fault) => {
            let saved = salvage(&text);
            if saved.fields.is_empty() {
                report.error(fault.mark, "", format!("this is not YAML: {}", fault.what), "");
                return None;
            }
            if saved.lost.is_empty() {
                report.warn(
                    fault.mark,
                    "",
                    format!("this is not YAML: {}", fault.what),
                    "every key was read by itself",
                    "",
                );
            }
            for (path, fault) in &saved.lost {
                report.error(fault.mark, path, format!("this is not YAML: {}", fault.what), "");
            }
            remark(&saved.remarks, report);
            Node {
                mark: Mark { line: 1, column: 1 },
                value: Value::Map(saved.fields),
            }
        }
    };
    if damaged {
        drop_damaged(&mut root, report);
    }
    Some(root)
}

fn remark(remarks: &[document::Remark], report: &mut Report) {
    for remark in remarks {
        if remark.drops {
            report.unknown(remark.mark, &remark.key, &remark.what, &remark.write);
        } else {
            report.warn(remark.mark, &remark.key, &remark.what, remark.done, &remark.write);
        }
    }
}

/// In a text that is not all UTF-8, the values that held the bad bytes are left out.
fn drop_damaged(node: &mut Node, report: &mut Report) {
    match &mut node.value {
        Value::Scalar(Scalar { text, .. }) if text.contains('\u{fffd}') => {
            report.error(node.mark, "", "this value holds bytes that are not UTF-8", "save the file as UTF-8");
            node.value = Value::Dropped;
        }
        Value::List(items) => items.iter_mut().for_each(|item| drop_damaged(item, report)),
        Value::Map(fields) => fields.iter_mut().for_each(|field| drop_damaged(&mut field.value, report)),
        _ => {}
    }
}
