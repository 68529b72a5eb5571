package ipc

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/wcluster/wcluster/abi"
)

func TestCheckHello(t *testing.T) {
	ours, err := json.Marshal(OurHello())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		kind abi.Kind
		body string
		want string // in the error; "": none
	}{
		{"our own hello", abi.KindHello, string(ours), ""},
		{"a frame that is no hello", abi.KindMessage, "x", "the first frame is message, not hello"},
		{"another build", abi.KindHello, `{"protocol":1,"build":"9.9.9"}`, `the other side is build "9.9.9" with protocol 1, this is build "` + abi.Build + `" with protocol 1: run master and workers from one binary`},
		{"another protocol", abi.KindHello, `{"protocol":2,"build":"` + abi.Build + `"}`, "with protocol 2, this is build"},
		{"no build", abi.KindHello, `{}`, `the other side is build "" with protocol 0`},
		{"a build that goes on and on", abi.KindHello, `{"build":"` + strings.Repeat("x", 10_000) + `"}`, strings.Repeat("x", maxQuoted) + `…"`},
		{"a field that no hello has", abi.KindHello, `{"protocol":1,"admin":true}`, `body of hello: json: unknown field "admin"`},
		{"a field that goes on and on", abi.KindHello, `{"` + strings.Repeat("x", 10_000) + `":1}`, "body of hello: json: unknown field"},
		{"a field of another type", abi.KindHello, `{"protocol":"1"}`, "body of hello: json: cannot unmarshal string"},
		{"no body", abi.KindHello, "", "body of hello: EOF"},
		{"half a body", abi.KindHello, `{"protocol":`, "body of hello: unexpected EOF"},
		{"garbage", abi.KindHello, "\xff\x00", "body of hello: invalid character"},
		{"a second value", abi.KindHello, `{"protocol":1} {}`, "body of hello: something follows the JSON value"},
		{"a stray brace", abi.KindHello, string(ours) + "}", "body of hello: something follows the JSON value"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := CheckHello(Frame{Header: abi.Header{Kind: tt.kind}, Body: []byte(tt.body)})
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, abi.ErrFrame) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q, want an ErrFrame with %q", err, tt.want)
			}
			if len(err.Error()) > 2*maxQuoted+200 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		})
	}
}
