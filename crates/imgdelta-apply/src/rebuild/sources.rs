//! The order of groups: each is decoded after the groups whose payloads it reads.
//! Never reads a payload.
//!
//! A group may read what its own earlier members make. Groups that read each other are refused before
//! any of them is decoded.

use super::{
    bill, order,
    table::{MemberRange, PayloadTable},
};
use imgdelta_core::{Error, LimitName, Limits, Result, work::WorkMeter};
use imgdelta_format::ReadLimitName;
use std::{collections::BTreeMap, sync::Arc};

/// Returns the rank of each group of each recipe, which is above the ranks of the groups that it
/// reads from.
///
/// Refuses ranges that are not there, and members that read more of the target than the limit.
pub(super) fn ranks(
    recipes: &BTreeMap<u32, Arc<PayloadTable>>,
    meter: &WorkMeter,
    limits: &Limits,
) -> Result<BTreeMap<u32, Vec<u32>>> {
    let mut first = BTreeMap::new();
    let mut count = 0_u32;
    for (ordinal, table) in recipes {
        first.insert(*ordinal, count);
        count += u32::try_from(table.recipe.groups.len()).expect("groups are limited");
    }
    let most_makers = limits.of_deltas().ceiling(ReadLimitName::Slices);
    let mut needs = Vec::new();
    for table in recipes.values() {
        let start = first[&table.ordinal];
        let (mut target_bytes, mut maker_count) = (0_u64, 0_u64);
        for (group, members) in (0..).zip(&table.recipe.groups) {
            for (ordinal, member) in (0..).zip(&members.members) {
                for range in table.place_member(member)?.base() {
                    let MemberRange::Rebuilt { table: read, offset, bytes } =
                        table.member_range(range)?
                    else {
                        continue;
                    };
                    target_bytes = target_bytes.saturating_add(bytes);
                    let what = "bytes of the target that members read";
                    limits.admit(LimitName::TargetSourceBytes, target_bytes, what, &table.place)?;
                    let makers = read.makers(offset, bytes);
                    maker_count += makers.len() as u64;
                    most_makers.admit(
                        maker_count,
                        "members whose results are read",
                        &table.place,
                    )?;
                    bill::charge_makers(makers.len(), meter)?;
                    for maker in makers {
                        let is_own = read.ordinal == table.ordinal && maker.group == group;
                        let need = (start + group, first[&read.ordinal] + maker.group);
                        // A member that reads its own result needs its own group, which is a circle.
                        if !(is_own && maker.member < ordinal) && needs.last() != Some(&need) {
                            needs.push(need);
                        }
                    }
                }
            }
        }
    }
    let ranks = order::ranks(count as usize, &needs);
    let ranks = ranks.map_err(|group| circle(recipes, &first, group))?;
    let ranks = recipes.iter().map(|(ordinal, table)| {
        let start = first[ordinal] as usize;
        (*ordinal, ranks[start..start + table.recipe.groups.len()].to_vec())
    });
    Ok(ranks.collect())
}

/// Returns the error for a group that needs its own result.
fn circle(
    recipes: &BTreeMap<u32, Arc<PayloadTable>>,
    first: &BTreeMap<u32, u32>,
    group: usize,
) -> Error {
    let before = first.iter().rev().find(|(_, start)| **start as usize <= group);
    let (recipe, start) = before.expect("the first recipe starts at 0");
    let group = group - *start as usize;
    recipes[recipe]
        .invalid(format_args!("group {group} is made from its own result, or from a group that is"))
}
