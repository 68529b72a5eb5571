package wasmworker

// maxLocals is how many local variables a function may have: the limit that the JavaScript embedding of Wasm sets, and
// with it every browser.
const maxLocals = 50_000

// skim reads the lists of a section for their lengths alone. What it does not know ends it without tooLong: wazero ends
// there as well, and says why.
func (r *reader) skim(id byte) {
	switch id {
	case sectionCustom:
		if r.text() == "name" {
			r.skimNames()
		}
	case sectionType:
		r.each(3, func() {
			if r.byte() != 0x60 { // a function; structures and arrays are for others
				r.unknown()
			}
			r.each(1, r.skipValueType)
			r.each(1, r.skipValueType)
		})
	case sectionFunction:
		r.each(1, r.skipNumber)
	case sectionTable:
		r.each(3, func() { r.skipType(1) })
	case sectionMemory:
		r.each(2, func() { r.skipType(2) })
	case sectionGlobal:
		r.each(4, func() {
			r.skipValueType()
			r.byte() // mutability
			r.skipExpression()
		})
	case sectionElement:
		r.each(3, r.skipElement)
	case sectionCode:
		r.each(3, func() {
			body := reader{b: r.take(r.count(1))}
			body.skimLocals()
			r.join(&body)
		})
	case sectionData:
		r.each(2, r.skipData)
	case sectionTag:
		r.each(2, func() { r.skipType(4) })
	}
}

// each reads a count and then calls skip for so many items of at least size bytes.
func (r *reader) each(size int, skip func()) {
	for n := r.count(size); n > 0 && !r.failed; n-- {
		skip()
	}
}

func (r *reader) skipNumber() { r.u32() }

// skipSigned skips a signed LEB128 number of at most ten bytes.
func (r *reader) skipSigned() {
	for range 10 {
		if b := r.byte(); r.failed || b < 0x80 {
			return
		}
	}
	r.unknown()
}

// skipValueType skips a type of one byte, or a typed reference and its heap type.
func (r *reader) skipValueType() {
	switch r.byte() {
	case 0x63, 0x64:
		r.skipSigned()
	case 0x40: // a table with an initial value
		r.unknown()
	}
}

// skipExpression skips a constant expression.
func (r *reader) skipExpression() {
	for !r.failed {
		switch r.byte() {
		case 0x0b: // end
			return
		case 0x41, 0x42, 0xd0: // i32.const, i64.const, ref.null
			r.skipSigned()
		case 0x43: // f32.const
			r.take(4)
		case 0x44: // f64.const
			r.take(8)
		case 0x23, 0xd2: // global.get, ref.func
			r.u32()
		case 0xfd: // v128.const, the only vector instruction here
			r.u32()
			r.take(16)
		default:
			r.unknown()
		}
	}
}

// skipElement skips an element segment. Its first number says what it consists of: bit 0 that it has no place of its own
// or is declared alone, bit 1 that it names a table, bit 2 that its items are expressions.
func (r *reader) skipElement() {
	form := r.u32()
	if form > 7 {
		r.unknown()
	}
	if form&1 == 0 { // active
		if form&2 != 0 {
			r.u32()
		}
		r.skipExpression()
	}
	if form&3 != 0 { // a kind, or a type
		r.skipValueType()
	}
	if form&4 != 0 {
		r.each(1, r.skipExpression)
	} else {
		r.each(1, r.skipNumber)
	}
}

// skipData skips a data segment: 0 is for the first memory, 1 for none, 2 names one.
func (r *reader) skipData() {
	switch form := r.u32(); {
	case form == 0:
		r.skipExpression()
	case form == 2:
		r.u32()
		r.skipExpression()
	case form > 2:
		r.unknown()
	}
	r.take(r.count(1))
}

// skimLocals reads the local variables of a function's body: groups of a count and a type. The counts are not bound by
// the bytes that follow.
func (r *reader) skimLocals() {
	sum := uint64(0)
	r.each(2, func() {
		sum += uint64(r.u32())
		r.skipValueType()
	})
	if sum > maxLocals {
		r.runOut()
	}
}

// skimNames reads the names of functions and of their local variables.
func (r *reader) skimNames() {
	for len(r.b) > 0 && !r.failed {
		id := r.byte()
		part := reader{b: r.take(r.count(1))}
		name := func() {
			part.u32()
			part.text()
		}
		switch id {
		case 0:
			part.text()
		case 1:
			part.each(2, name)
		case 2:
			part.each(2, func() {
				part.u32()
				part.each(2, name)
			})
		}
		r.join(&part)
	}
}
