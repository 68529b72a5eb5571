package abi

import "testing"

func TestErrnoNames(t *testing.T) {
	seen := map[string]Errno{}
	for e := Success; e <= ENOTCAPABLE; e++ {
		name := e.String()
		if other, twice := seen[name]; twice || name == "" {
			t.Errorf("errno %d is called %q, as %d is", e, name, other)
		}
		seen[name] = e
	}
	if want := int(ENOTCAPABLE) + 1; len(errnoNames) != want {
		t.Errorf("%d names, want %d", len(errnoNames), want)
	}
	// A name that is one place off would put all after it off as well: a few along the list pin it.
	for e, want := range map[Errno]string{
		Success: "SUCCESS", EAGAIN: "EAGAIN", EINVAL: "EINVAL", EMFILE: "EMFILE", ENOSYS: "ENOSYS", EPIPE: "EPIPE",
		ENOTCAPABLE: "ENOTCAPABLE", ENOTCAPABLE + 1: "errno 77", 65535: "errno 65535",
	} {
		if e.String() != want {
			t.Errorf("errno %d is called %q, want %q", uint16(e), e, want)
		}
	}
}
