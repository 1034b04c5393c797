package tuple

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// The vectors are those of FoundationDB's design document of the tuple layer,
// and of its rules worked out by hand where the document has no example.
func TestEncodingIsFoundationDBs(t *testing.T) {
	t.Parallel()
	id := uuid.MustParse("01020304-0506-0708-090a-0b0c0d0e0f10")
	for _, tt := range []struct {
		name string
		key  Key
		want string
		back []any
	}{
		{"bytes", Key{}.Bytes([]byte("foo\x00bar")), "01 666f6f00ff626172 00", []any{[]byte("foo\x00bar")}},
		{"no bytes", Key{}.Bytes(nil), "01 00", []any{[]byte{}}},
		{"text", Key{}.Text("F\u00d4O\x00bar"), "02 46c3944f00ff626172 00", []any{"F\u00d4O\x00bar"}},
		{"negative", Key{}.Int(-5551212), "11 ab4b93", []any{int64(-5551212)}},
		{"zero", Key{}.Int(0), "14", []any{int64(0)}},
		{"one", Key{}.Int(1), "15 01", []any{int64(1)}},
		{"minus one", Key{}.Int(-1), "13 fe", []any{int64(-1)}},
		{"255", Key{}.Int(255), "15 ff", []any{int64(255)}},
		{"256", Key{}.Int(256), "16 0100", []any{int64(256)}},
		{"-255", Key{}.Int(-255), "13 00", []any{int64(-255)}},
		{"-256", Key{}.Int(-256), "12 feff", []any{int64(-256)}},
		{"largest", Key{}.Int(math.MaxInt64), "1c 7fffffffffffffff", []any{int64(math.MaxInt64)}},
		{"smallest", Key{}.Int(math.MinInt64), "0c 7fffffffffffffff", []any{int64(math.MinInt64)}},
		{"uuid", Key{}.UUID(id), "30 0102030405060708090a0b0c0d0e0f10", []any{id}},
		{"several", Key{}.Text("a").Int(7).Bytes([]byte{0}), "026100 1507 0100ff00", []any{"a", int64(7), []byte{0}}},
		{"nothing", Key{}, "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got, want := hex.EncodeToString(tt.key), strings.ReplaceAll(tt.want, " ", ""); got != want {
				t.Errorf("encoded %s, want %s", got, want)
			}
			back, err := Decode(tt.key)
			if err != nil || !reflect.DeepEqual(back, tt.back) {
				t.Errorf("decoded %#v, %v; want %#v", back, err, tt.back)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		"00",                 // null: no key of ours has it
		"05",                 // nested
		"01",                 // no end
		"0261",               // no end
		"0100ff",             // the zero is escaped: no end
		"02ff00",             // not UTF-8
		"1500",               // zero in a byte
		"160001",             // one in two bytes
		"13ff",               // minus zero
		"16ff",               // cut short
		"1cffffffffffffffff", // beyond int64
		"0c0000000000000000", // beyond int64
		"1d",                 // big integer
		"3001",               // cut short
		"ff",
	} {
		b, err := hex.DecodeString(bad)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Decode(b); err == nil {
			t.Errorf("Decode(%s) = %v, want an error", bad, got)
		}
	}
}

func TestOrderOfKeysIsOrderOfElements(t *testing.T) {
	t.Parallel()
	var ints []int64
	for _, edge := range []int64{0, 1 << 7, 1 << 8, 1 << 15, 1 << 16, 1 << 31, 1 << 32, 1 << 55, 1 << 56, math.MaxInt64 - 1} {
		for d := int64(-1); d <= 1; d++ {
			ints = append(ints, edge+d, -(edge + d))
		}
	}
	ints = append(ints, math.MinInt64)
	for _, a := range ints {
		for _, b := range ints {
			if got, want := bytes.Compare(Key{}.Int(a), Key{}.Int(b)), cmp.Compare(a, b); got != want {
				t.Errorf("%d and %d compare as %d, want %d", a, b, got, want)
			}
		}
	}
	texts := []string{"", "\x00", "\x00a", "\x01", "a", "a\x00", "a\x00\x00", "a\x01", "ab", "b", "é"}
	keys := make([]string, len(texts))
	for i, s := range texts {
		keys[i] = string(Key{}.Text(s).Int(9))
	}
	if !slices.IsSorted(keys) {
		t.Errorf("texts do not sort: %q", keys)
	}
}

func TestSharedPrefixIsNotOverwritten(t *testing.T) {
	t.Parallel()
	prefix := append(make(Key, 0, 100), Key{}.Text("p")...)
	a, b := prefix.Int(1), prefix.Int(2)
	if bytes.Equal(a, b) {
		t.Fatalf("two keys on one prefix became one: %x", a)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(Key{}.Text("a\x00").Int(-300).UUID(uuid.Max).Bytes([]byte{0, 255})))
	f.Add([]byte{codeText, 0, escape})
	f.Fuzz(func(t *testing.T, b []byte) {
		elements, err := Decode(b)
		if err != nil {
			return
		}
		var again Key
		for _, e := range elements {
			switch e := e.(type) {
			case []byte:
				again = again.Bytes(e)
			case string:
				again = again.Text(e)
			case int64:
				again = again.Int(e)
			case uuid.UUID:
				again = again.UUID(e)
			default:
				t.Fatalf("unexpected element %T", e)
			}
		}
		if !bytes.Equal(again, b) {
			t.Fatalf("%x decodes to %v, which encodes to %x", b, elements, again)
		}
	})
}

func ExampleKey() {
	key := Key{}.Text("users").Int(42)
	elements, err := Decode(key)
	fmt.Printf("%x %v %v\n", []byte(key), elements, err)
	// Output: 02757365727300152a [users 42] <nil>
}
