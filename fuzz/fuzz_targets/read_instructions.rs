//! Any bytes as code: lengths stay within them, fields give the bytes back, and two functions pair.
#![no_main]

use imgdelta_instructions::{
    Edit, EditPart, ExpectedEdits, Instruction, InstructionSet, Program, changed_functions, length,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&cut, rest)) = bytes.split_first() else { return };
    let (old, new) = rest.split_at(rest.len() * usize::from(cut) / 255);
    let set = if cut & 1 == 0 { InstructionSet::X86_64 } else { InstructionSet::Aarch64 };
    let mut at = 0;
    while at < old.len() {
        let code = &old[at..];
        let len = set.length(code);
        assert!((1..=code.len().min(15)).contains(&len));
        if set == InstructionSet::X86_64
            && let Some(read) = Instruction::read(code)
        {
            assert_eq!(read.write().expect("it was read").as_slice(), &code[..length(code)]);
        }
        // The other bytes as an edit: it is refused, or gives an instruction.
        let mut numbers = new.iter().skip(1);
        let parts = new.first().copied().unwrap_or(0);
        let edit: Result<_, ()> = Edit::read(parts, |part| {
            let number = i64::from(numbers.next().copied().unwrap_or(0).cast_signed());
            Ok(if part == EditPart::Register { number & 0xff } else { number * number * number })
        });
        if let Ok(Some(edit)) = edit
            && let Some(edited) = set.edited(code, &edit)
        {
            assert_eq!(edited.old_len, len);
            assert!(edited.bytes.as_slice().len() <= 15);
        }
        at += len;
    }
    let old_functions = [(0, old.len())];
    let new_functions = [(0, new.len())];
    let base = Program { raw: old, labelled: old, functions: &old_functions, set };
    let target = Program { raw: new, labelled: new, functions: &new_functions, set };
    for copy in changed_functions(base, target) {
        let mut made = Vec::new();
        let mut at = copy.base.start;
        let exceptions = copy.exceptions(set, old, &mut ExpectedEdits::default());
        let mut expected = ExpectedEdits::default();
        expected.begin(at);
        let last = (u64::MAX, Edit::default());
        for (gap, edit) in exceptions.into_iter().chain([last]) {
            for _ in 0..gap {
                let code = &old[at..copy.base.end];
                if code.is_empty() {
                    break;
                }
                let (len, change) = expected.next(set, code);
                match change {
                    Some((_, edited)) => made.extend_from_slice(edited.bytes.as_slice()),
                    None => made.extend_from_slice(&code[..len]),
                }
                at += len;
            }
            if edit.is_empty() {
                break;
            }
            let code = &old[at..copy.base.end];
            let change =
                expected.next(set, code).1.map_or_else(Edit::default, |(change, _)| change);
            let new = set.edited(code, &change.then(&edit)).expect("it was paired");
            expected.learn(set, code, &change, &edit);
            at += new.old_len;
            made.extend_from_slice(new.bytes.as_slice());
        }
        assert_eq!(made.len(), copy.target.len());
    }
});
