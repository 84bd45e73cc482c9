use super::*;

/// What the kernel would answer, by the few instructions that are used.
fn asked(program: &[Instruction], port: u16) -> i32 {
    let mut at = 2;
    let mut answer = -1;
    loop {
        let Instruction { code, offset, immediate, .. } = program[at];
        let value = i32::from(port);
        at += 1;
        match code {
            0xa5 if value < immediate => at += usize::try_from(offset).expect("forward"),
            0x25 if value > immediate => at += usize::try_from(offset).expect("forward"),
            0xa5 | 0x25 => {}
            0xb7 => answer = immediate,
            0x95 => return answer,
            other => panic!("unknown instruction {other:#x}"),
        }
    }
}

#[test]
fn a_program_answers_as_its_rule_does() {
    let rule = PortRule { own: vec![(31005, 31007), (31100, 31100)], guarded: vec![(31000, 32000), (65535, 65535)] };
    let program = program(&rule);
    for port in [0, 80, 30999, 31000, 31004, 31005, 31006, 31007, 31008, 31100, 31101, 32000, 32001, 65534, 65535] {
        assert_eq!(asked(&program, port) == 1, rule.allows(port), "{port}");
    }
    assert!(rule.allows(80) && rule.allows(31006) && !rule.allows(31008) && !rule.allows(65535));
}

#[test]
fn without_guarded_ports_everything_is_allowed() {
    let program = program(&PortRule::default());
    assert!([0, 1, 31000, 65535].iter().all(|port| asked(&program, *port) == 1));
}
