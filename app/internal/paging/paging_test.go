package paging

import (
	"fmt"
	"testing"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/fault"
)

func TestRequestsAreBounded(t *testing.T) {
	t.Parallel()
	owner, id := uuid.New(), uuid.New()
	good := Cursor(id, "things", owner)
	for _, tt := range []struct {
		q     Request
		limit int // 0: refused
	}{
		{Request{}, DefaultLimit},
		{Request{Limit: 1, Cursor: good}, 1},
		{Request{Limit: 200}, 200},
		{Request{Limit: -1}, 0},
		{Request{Limit: 201}, 0},
		{Request{Cursor: "nonsense"}, 0},
		{Request{Cursor: Cursor(id, "others", owner)}, 0},
		{Request{Cursor: Cursor(id, "things", uuid.New())}, 0},
	} {
		from, limit, err := tt.q.Parse("things", owner)
		if limit != tt.limit || (err != nil) != (tt.limit == 0) || (err != nil && fault.CodeOf(err) != fault.InvalidRequest) {
			t.Errorf("%+v: %v, %d, %v", tt.q, from, limit, err)
		}
		if err == nil && (from == id) != (tt.q.Cursor != "") {
			t.Errorf("%+v begins at %v", tt.q, from)
		}
	}
}

func TestPagesLeadOnWhileThereIsMore(t *testing.T) {
	t.Parallel()
	records := []uuid.UUID{uuid.New(), uuid.New(), uuid.New()}
	for limit := 1; limit <= 3; limit++ {
		page := Of(records[:limit], limit < len(records), func(id uuid.UUID) (string, uuid.UUID, bool) { return id.String(), id, id != records[0] }, "things")
		want := ""
		if limit < 3 {
			want = Cursor(records[limit-1], "things")
		}
		if len(page.Items) != limit-1 || page.Next != want {
			t.Errorf("limit %d: %s", limit, fmt.Sprint(page))
		}
	}
}

func FuzzParseCursor(f *testing.F) {
	owner, other := uuid.New(), uuid.New()
	f.Add(Cursor(uuid.New(), "things", owner))
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		id, ok := ParseCursor(s, "things", owner)
		if ok && Cursor(id, "things", owner) != s {
			t.Fatalf("%q comes back as %q", s, Cursor(id, "things", owner))
		}
		if _, others := ParseCursor(s, "things", other); ok && others {
			t.Fatalf("%q is two people's", s)
		}
	})
}
