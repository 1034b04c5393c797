package sqlitekv

import (
	"testing"

	"coditect.ai/platform/app/internal/kv"
)

func TestSmoke(t *testing.T) {
	db, err := Open(t.Context(), Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := db.Transact(t.Context(), func(tr kv.Transaction) error {
			v, err := tr.Get([]byte("a"))
			if err != nil {
				return err
			}
			tr.Set([]byte("a"), append(v, 'x'))
			tr.Set([]byte("e"), nil)
			tr.Add([]byte("n"), 5)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Read(t.Context(), func(r kv.Reader) error {
		ps, err := r.Range(kv.Range{End: []byte{0xff}}, kv.RangeOptions{})
		t.Log(ps, err)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Log(db.Stats())
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
