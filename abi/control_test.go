package abi

import (
	"strings"
	"testing"
)

func TestFaultClip(t *testing.T) {
	for _, tt := range []struct {
		name, in, want string
	}{
		{"a short text stays", "short", "short"},
		{"a text of the limit stays", strings.Repeat("x", MaxFaultText), strings.Repeat("x", MaxFaultText)},
		{"a longer one is cut", strings.Repeat("x", MaxFaultText+1), strings.Repeat("x", MaxFaultText)},
		{"the cut falls between characters", strings.Repeat("x", MaxFaultText-1) + "é", strings.Repeat("x", MaxFaultText-1)},
		{"what is not UTF-8 is cut as well", strings.Repeat("\x80", MaxFaultText+1), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := Fault{Text: tt.in, Stack: tt.in}
			f.Clip()
			if f.Text != tt.want || f.Stack != tt.want {
				t.Errorf("%d and %d bytes, want %d", len(f.Text), len(f.Stack), len(tt.want))
			}
		})
	}
}

// The worst that JSON makes of a clipped fault is six bytes for one, and it must still be a frame.
func TestFaultFitsItsFrame(t *testing.T) {
	if worst := 6*2*MaxFaultText + 1024; worst > MaxControl {
		t.Errorf("a fault may take %d bytes, more than %d", worst, MaxControl)
	}
	if worst := 6*MaxSpec + 1024; worst > MaxSmallControl {
		t.Errorf("an address may take %d bytes, more than %d", worst, MaxSmallControl)
	}
}
