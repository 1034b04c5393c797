package session

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/auth"
	"coditect.ai/platform/app/internal/auth/authtest"
	"coditect.ai/platform/app/internal/fault"
	"coditect.ai/platform/app/internal/paging"
	"coditect.ai/platform/app/internal/store"
	"coditect.ai/platform/app/internal/store/storetest"
)

type env struct {
	*authtest.Env
	*Service
}

func newEnv(tb testing.TB) *env {
	tb.Helper()
	base := authtest.New(tb)
	return &env{Env: base, Service: NewService(base.Store)}
}

func (e *env) mustCreate(tb testing.TB, a auth.Access, n New) Session {
	tb.Helper()
	s, err := e.Create(tb.Context(), a, n, "")
	if err != nil {
		tb.Fatalf("creating: %v", err)
	}
	return s
}

func TestLifeOfASession(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	a := e.User(t, "ada@example.com")
	transactions := func(fn func()) uint64 {
		before := e.Store.Stats().Transactions
		fn()
		return e.Store.Stats().Transactions - before
	}
	var made, got Session
	costs := []uint64{
		transactions(func() {
			made = e.mustCreate(t, a, New{Name: " main ", WorkspacePath: "/home/ada/src", Metadata: json.RawMessage(` {"theme": "<dark>"} `)})
		}),
		transactions(func() {
			var err error
			if got, err = e.Get(t.Context(), a, made.ID); err != nil {
				t.Error(err)
			}
		}),
		transactions(func() {
			if err := e.Delete(t.Context(), a, made.ID); err != nil {
				t.Error(err)
			}
		}),
	}
	if !slices.Equal(costs, []uint64{1, 1, 1}) {
		t.Errorf("create, get, delete took %v transactions, want 1 each", costs)
	}
	now := e.Clock.Now().Truncate(time.Millisecond)
	want := Session{
		ID: made.ID, TenantID: a.TenantID, UserID: a.UserID, Name: "main", WorkspacePath: "/home/ada/src",
		Metadata: json.RawMessage(`{"theme":"<dark>"}`), CreatedAt: now, UpdatedAt: now, LastActiveAt: now,
	}
	if made.ID.Version() != 7 || !reflect.DeepEqual(made, want) || !reflect.DeepEqual(got, want) {
		t.Errorf("made %+v\ngot  %+v\nwant %+v", made, got, want)
	}
	_, err := e.Get(t.Context(), a, made.ID)
	authtest.WantCode(t, err, fault.NotFound)
	authtest.WantCode(t, e.Delete(t.Context(), a, made.ID), fault.NotFound)
}

func TestNewNamesEveryFieldAtFault(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	a := e.User(t, "ada@example.com")
	big := json.RawMessage(`{"x":"` + strings.Repeat("<", maxMetadata-8) + `"}`)
	for _, tt := range []struct {
		n    New
		want string
	}{
		{New{Name: strings.Repeat("n", 201), WorkspacePath: "a\nb", Metadata: json.RawMessage(`[]`)}, "name workspace_path metadata"},
		{New{Name: "gro.live\u202e", WorkspacePath: "a\u2028b"}, "name workspace_path"},
		{New{Name: "a\x7f", WorkspacePath: strings.Repeat("p", 1025), Metadata: json.RawMessage(`{`)}, "name workspace_path metadata"},
		{New{Metadata: json.RawMessage(`"x"`)}, "metadata"},
		{New{Metadata: json.RawMessage(`{} {}`)}, "metadata"},
		{New{Metadata: append(bytes.Clone(big[:len(big)-1]), `,"y":0}`...)}, "metadata"},
		{New{Name: strings.Repeat("ü", 200), WorkspacePath: strings.Repeat("p", 1024), Metadata: big}, ""},
		{New{Metadata: json.RawMessage(` null `)}, ""},
	} {
		made, err := e.Create(t.Context(), a, tt.n, "")
		if tt.want == "" {
			if err != nil || made.Metadata[0] != '{' {
				t.Errorf("%.40v: %v, metadata %.20s", tt.n, err, made.Metadata)
			}
			continue
		}
		authtest.WantCode(t, err, fault.ValidationFailed)
		var fields []string
		if f, ok := errors.AsType[*fault.Error](err); ok {
			for _, field := range f.Fields {
				fields = append(fields, field.Field)
			}
		}
		if got := strings.Join(fields, " "); got != tt.want {
			t.Errorf("fields are %q, want %q", got, tt.want)
		}
	}
}

// Whatever a session may hold comes back as it was, with an idempotency key too.
func TestARepeatedCreationAnswersTheSame(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	a := e.User(t, "ada@example.com")
	largest := New{
		Name: strings.Repeat("<", maxName), WorkspacePath: strings.Repeat("&", maxPath),
		Metadata: json.RawMessage(`{"x":"` + strings.Repeat("<", maxMetadata-8) + `"}`),
	}
	first, err1 := e.Create(t.Context(), a, largest, "key")
	again, err2 := e.Create(t.Context(), a, largest, "key")
	if err := errors.Join(err1, err2); err != nil || !reflect.DeepEqual(first, again) {
		t.Errorf("%v; the same: %t", err, reflect.DeepEqual(first, again))
	}
}

func TestSessionsOfOthersDoNotExist(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ada, bob := e.User(t, "ada@example.com"), e.User(t, "bob@example.com")
	inAdas := bob // bob, as a member of ada's tenant
	inAdas.TenantID = ada.TenantID
	if err := e.Store.Update(t.Context(), func(tx *store.Tx) error {
		tx.PutMembership(store.Membership{TenantID: ada.TenantID, UserID: bob.UserID, Role: store.RoleAdmin})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	adas := e.mustCreate(t, ada, New{})
	e.mustCreate(t, inAdas, New{})
	for _, a := range []auth.Access{bob, inAdas} {
		_, err := e.Get(t.Context(), a, adas.ID)
		authtest.WantCode(t, err, fault.NotFound)
		authtest.WantCode(t, e.Delete(t.Context(), a, adas.ID), fault.NotFound)
	}
	for a, want := range map[auth.Access]int{ada: 1, inAdas: 1, bob: 0} {
		page, err := e.List(t.Context(), a, paging.Request{Limit: 0, Cursor: ""})
		if err != nil || len(page.Items) != want {
			t.Errorf("lists %d, %v; want %d", len(page.Items), err, want)
		}
	}
	if _, err := e.Get(t.Context(), ada, adas.ID); err != nil {
		t.Error(err)
	}
}

func TestAuthorityIsThatOfTheMoment(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	a := e.User(t, "ada@example.com")
	s := e.mustCreate(t, a, New{})
	if err := e.Auth.Logout(t.Context(), a, false); err != nil {
		t.Fatal(err)
	}
	_, err1 := e.Create(t.Context(), a, New{}, "")
	_, err2 := e.Get(t.Context(), a, s.ID)
	_, err3 := e.List(t.Context(), a, paging.Request{Limit: 0, Cursor: ""})
	for _, err := range []error{err1, err2, err3, e.Delete(t.Context(), a, s.ID)} {
		authtest.WantCode(t, err, fault.InvalidToken)
	}
}

func TestListPagesNewestFirst(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	a := e.User(t, "ada@example.com")
	var want []uuid.UUID
	for range 7 {
		want = append(want, e.mustCreate(t, a, New{}).ID)
	}
	slices.Reverse(want)
	for limit := 1; limit <= 8; limit++ {
		var got []uuid.UUID
		for cursor, pages := "", 0; ; pages++ {
			before := e.Store.Stats()
			page, err := e.List(t.Context(), a, paging.Request{Limit: limit, Cursor: cursor})
			if err != nil {
				t.Fatal(err)
			}
			if after := e.Store.Stats(); after.Transactions-before.Transactions != 1 || after.Reads-before.Reads != 4 {
				t.Errorf("a page took %d transactions and %d reads, want 1 and 4",
					after.Transactions-before.Transactions, after.Reads-before.Reads)
			}
			for _, s := range page.Items {
				got = append(got, s.ID)
			}
			if cursor = page.Next; cursor == "" {
				break
			}
			if len(page.Items) != limit || pages > len(want) {
				t.Fatalf("a page of %d has %d sessions and another follows", limit, len(page.Items))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("pages of %d hold %v, want %v", limit, got, want)
		}
	}
}

func TestListRefusesWhatIsNotItsOwn(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ada, bob := e.User(t, "ada@example.com"), e.User(t, "bob@example.com")
	for range 2 {
		e.mustCreate(t, ada, New{})
		e.mustCreate(t, bob, New{})
	}
	page, err := e.List(t.Context(), ada, paging.Request{Limit: 1, Cursor: ""})
	if err != nil || page.Next == "" {
		t.Fatalf("%+v, %v", page, err)
	}
	elsewhere := ada
	elsewhere.TenantID = bob.TenantID
	for _, a := range []auth.Access{bob, elsewhere} {
		_, err := e.List(t.Context(), a, paging.Request{Limit: 1, Cursor: page.Next})
		authtest.WantCode(t, err, fault.InvalidRequest)
	}
	for _, bad := range []string{"x", page.Next + "A", page.Next[1:], "!" + page.Next[1:], strings.Repeat("A", len(page.Next)), page.Next[:5] + "\n" + page.Next[6:]} {
		_, err := e.List(t.Context(), ada, paging.Request{Limit: 1, Cursor: bad})
		authtest.WantCode(t, err, fault.InvalidRequest)
	}
	for _, limit := range []int{-1, 201} {
		_, err := e.List(t.Context(), ada, paging.Request{Limit: limit, Cursor: ""})
		authtest.WantCode(t, err, fault.InvalidRequest)
	}
}

func TestUnknownCommitsAreSettled(t *testing.T) {
	t.Parallel()
	for _, fates := range [][]storetest.Fate{{storetest.Committed}, {storetest.Lost}, {storetest.Lost, storetest.Committed, storetest.Committed}} {
		e := newEnv(t)
		a := e.User(t, "ada@example.com")
		e.DB.Unknown(fates...)
		s := e.mustCreate(t, a, New{Name: "one"})
		page, err := e.List(t.Context(), a, paging.Request{Limit: 0, Cursor: ""})
		if err != nil || len(page.Items) != 1 || !reflect.DeepEqual(page.Items[0], s) {
			t.Errorf("%v: listed %+v, %v; want %+v alone", fates, page.Items, err, s)
		}
		e.DB.Unknown(fates...)
		if err := e.Delete(t.Context(), a, s.ID); err != nil {
			t.Errorf("%v: deleting: %v", fates, err)
		}
		authtest.WantCode(t, e.Delete(t.Context(), a, s.ID), fault.NotFound)
	}
}
