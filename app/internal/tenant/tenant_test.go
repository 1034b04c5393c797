package tenant

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/auth"
	"coditect.ai/platform/app/internal/auth/authtest"
	"coditect.ai/platform/app/internal/fault"
	"coditect.ai/platform/app/internal/mail"
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
	return &env{Env: base, Service: NewService(base.Store, base.Auth)}
}

// user registers somebody, reads their mail and returns what their token says.
func (e *env) user(tb testing.TB, name string) auth.Access {
	tb.Helper()
	a := e.User(tb, name+"@example.com")
	e.inbox(tb)
	return a
}

// inbox delivers what is due and returns the tokens in it.
func (e *env) inbox(tb testing.TB) []string {
	tb.Helper()
	var tokens []string
	for {
		done, err := e.Auth.Deliver(tb.Context(), sender(func(m mail.Message) {
			tokens = append(tokens, regexp.MustCompile(`#token=(\S+)`).FindStringSubmatch(m.Text)[1])
		}))
		if err != nil {
			tb.Fatal(err)
		}
		if done.Sent == 0 {
			return tokens
		}
	}
}

type sender func(mail.Message)

func (s sender) Send(_ context.Context, m mail.Message) error { s(m); return nil }

func (e *env) mustCreate(tb testing.TB, a auth.Access, name string) Tenant {
	tb.Helper()
	t, err := e.Create(tb.Context(), a, name, "")
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

// join makes somebody a member by an invitation.
func (e *env) join(tb testing.TB, by auth.Access, id uuid.UUID, a auth.Access, name string, role store.Role) {
	tb.Helper()
	if _, err := e.Invite(tb.Context(), by, id, name+"@example.com", role, ""); err != nil {
		tb.Fatal(err)
	}
	if _, err := e.Accept(tb.Context(), a, e.inbox(tb)[0]); err != nil {
		tb.Fatal(err)
	}
}

var fates = [][]storetest.Fate{nil, {storetest.Committed}, {storetest.Lost}, {storetest.Lost, storetest.Committed, storetest.Committed}}

func TestLifeOfATenant(t *testing.T) {
	t.Parallel()
	for _, fate := range fates {
		e := newEnv(t)
		ada, bob := e.user(t, "ada"), e.user(t, "bob")
		e.DB.Unknown(fate...)
		made := e.mustCreate(t, ada, " Engines ")
		if made.Name != "Engines" || made.Role != store.RoleOwner || made.Self || made.ID.Version() != 7 {
			t.Errorf("made %+v", made)
		}
		page, err := e.List(t.Context(), ada, paging.Request{})
		if err != nil || len(page.Items) != 2 {
			t.Errorf("%+v, %v", page, err)
		}
		e.Clock.Advance(time.Minute)
		e.DB.Unknown(fate...)
		renamed, err := e.Rename(t.Context(), ada, made.ID, "Difference Engines")
		if err != nil || renamed.Name != "Difference Engines" || !renamed.UpdatedAt.After(made.UpdatedAt) {
			t.Errorf("%+v, %v", renamed, err)
		}
		if got, err := e.Get(t.Context(), ada, made.ID); err != nil || got != renamed {
			t.Errorf("%+v, %v", got, err)
		}
		_, err = e.Get(t.Context(), bob, made.ID)
		authtest.WantCode(t, err, fault.NotFound)
		_, err = e.Rename(t.Context(), ada, made.ID, "a\nb")
		authtest.WantCode(t, err, fault.ValidationFailed)
		authtest.WantCode(t, e.Delete(t.Context(), ada, ada.TenantID), fault.SelfTenant)
		e.DB.Unknown(fate...)
		if err := e.Delete(t.Context(), ada, made.ID); err != nil {
			t.Error(err)
		}
		authtest.WantCode(t, e.Delete(t.Context(), ada, made.ID), fault.NotFound)
		trail, err := e.Audit(t.Context(), ada, ada.TenantID, paging.Request{Limit: 1})
		if err != nil || len(trail.Items) != 1 || trail.Items[0].Action != actDeleted || trail.Items[0].SubjectID != made.ID || trail.Next == "" {
			t.Errorf("%+v, %v", trail, err)
		}
	}
}

func TestRepeatedCreationsAreOne(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ada, bob := e.user(t, "ada"), e.user(t, "bob")
	first, err1 := e.Create(t.Context(), ada, "Engines", "key")
	again, err2 := e.Create(t.Context(), ada, " Engines", "key")
	others, err3 := e.Create(t.Context(), bob, "Engines", "key")
	if err := errors.Join(err1, err2, err3); err != nil || first != again || others.ID == first.ID {
		t.Errorf("%+v, %+v, %+v, %v", first, again, others, err)
	}
	_, err := e.Create(t.Context(), ada, "Mills", "key")
	authtest.WantCode(t, err, fault.IdempotencyConflict)
	e.Clock.Advance(24 * time.Hour)
	next, err := e.Create(t.Context(), ada, "Mills", "key")
	if err != nil || next.ID == first.ID {
		t.Errorf("after a day: %+v, %v", next, err)
	}

	i1, err1 := e.Invite(t.Context(), ada, next.ID, "eve@example.com", store.RoleMember, "key")
	i2, err2 := e.Invite(t.Context(), ada, next.ID, "Eve@example.com ", store.RoleMember, "key")
	if err := errors.Join(err1, err2); err != nil || i1 != i2 || len(e.inbox(t)) != 1 {
		t.Errorf("%+v, %+v, %v, or not one mail", i1, i2, err)
	}
	_, err = e.Invite(t.Context(), ada, next.ID, "eve@example.com", store.RoleAdmin, "key")
	authtest.WantCode(t, err, fault.IdempotencyConflict)
}

// Who may do what to whom: every caller's role × every member's × every new one.
func TestRolesDecideWhoManagesWhom(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	owner := e.user(t, "owner")
	id := e.mustCreate(t, owner, "Engines").ID
	roles := []store.Role{store.RoleMember, store.RoleAdmin, store.RoleOwner}
	subject := e.user(t, "subject")
	set := func(a auth.Access, role store.Role) {
		t.Helper()
		if err := e.Store.Update(t.Context(), func(tx *store.Tx) error {
			tx.PutMembership(store.Membership{TenantID: id, UserID: a.UserID, Role: role})
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	for _, callers := range roles {
		caller := e.user(t, "caller-"+string(callers))
		set(caller, callers)
		for _, from := range roles {
			manages := callers == store.RoleOwner || callers == store.RoleAdmin && from != store.RoleOwner
			for _, to := range roles {
				set(subject, from)
				_, err := e.SetRole(t.Context(), caller, id, subject.UserID, to)
				if allowed := manages && (callers == store.RoleOwner || to != store.RoleOwner); allowed != (err == nil) || !allowed && fault.CodeOf(err) != fault.Forbidden {
					t.Errorf("%s makes %s of %s: %v", callers, to, from, err)
				}
			}
			set(subject, from)
			err := e.Remove(t.Context(), caller, id, subject.UserID)
			if manages != (err == nil) || !manages && fault.CodeOf(err) != fault.Forbidden {
				t.Errorf("%s removes %s: %v", callers, from, err)
			}
		}
		for _, invited := range roles {
			_, err := e.Invite(t.Context(), caller, id, fmt.Sprintf("by-%s-%s@example.com", callers, invited), invited, "")
			if allowed := rank(callers) >= rank(above(invited)); allowed != (err == nil) || !allowed && fault.CodeOf(err) != fault.Forbidden {
				t.Errorf("%s invites %s: %v", callers, invited, err)
			}
		}
		if err := e.Remove(t.Context(), caller, id, caller.UserID); err != nil {
			t.Errorf("%s leaves: %v", callers, err)
		}
	}
	_, err := e.SetRole(t.Context(), owner, id, owner.UserID, "king")
	authtest.WantCode(t, err, fault.ValidationFailed)
	_, err = e.SetRole(t.Context(), owner, id, uuid.New(), store.RoleAdmin)
	authtest.WantCode(t, err, fault.NotFound)
	authtest.WantCode(t, e.Remove(t.Context(), owner, id, uuid.New()), fault.NotFound)
}

func TestATenantKeepsAnOwner(t *testing.T) {
	t.Parallel()
	for _, fate := range fates {
		e := newEnv(t)
		ada, bob := e.user(t, "ada"), e.user(t, "bob")
		id := e.mustCreate(t, ada, "Engines").ID
		e.join(t, ada, id, bob, "bob", store.RoleAdmin)
		_, err := e.SetRole(t.Context(), ada, id, ada.UserID, store.RoleMember)
		authtest.WantCode(t, err, fault.LastOwner)
		authtest.WantCode(t, e.Remove(t.Context(), ada, id, ada.UserID), fault.LastOwner)
		authtest.WantCode(t, e.Auth.DeleteMe(t.Context(), ada, authtest.Password, ""), fault.LastOwner)
		_, err = e.SetRole(t.Context(), ada, ada.TenantID, ada.UserID, store.RoleMember)
		authtest.WantCode(t, err, fault.SelfTenant)
		authtest.WantCode(t, e.Remove(t.Context(), ada, ada.TenantID, ada.UserID), fault.SelfTenant)

		if _, err := e.SetRole(t.Context(), ada, id, bob.UserID, store.RoleOwner); err != nil {
			t.Fatal(err)
		}
		e.DB.Unknown(fate...)
		if m, err := e.SetRole(t.Context(), ada, id, ada.UserID, store.RoleMember); err != nil || m.Role != store.RoleMember {
			t.Errorf("giving the role up: %+v, %v", m, err)
		}
		e.DB.Unknown(fate...)
		if err := e.Remove(t.Context(), ada, id, ada.UserID); err != nil {
			t.Errorf("leaving: %v", err)
		}
		// With the last member the tenant goes.
		if err := e.Auth.DeleteMe(t.Context(), bob, authtest.Password, ""); err != nil {
			t.Error(err)
		}
		if err := e.Store.View(t.Context(), func(r *store.Reader) error {
			if _, err := r.Tenant(id); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("a tenant without members: %v", err)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	}
}

// A hundred owners all go at the same moment, each in one of three ways: one stays.
func TestOfAHundredOwnersWhoGoOneStays(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	var owners []auth.Access
	for i := range 100 {
		owners = append(owners, e.user(t, fmt.Sprintf("u%d", i)))
	}
	id := e.mustCreate(t, owners[0], "Engines").ID
	if err := e.Store.Update(t.Context(), func(tx *store.Tx) error {
		for _, a := range owners {
			tx.PutMembership(store.Membership{TenantID: id, UserID: a.UserID, Role: store.RoleOwner})
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	stayed := make([]bool, len(owners))
	for i, a := range owners {
		wg.Go(func() {
			for {
				var err error
				switch i % 3 {
				case 0:
					err = e.Remove(t.Context(), a, id, a.UserID)
				case 1:
					_, err = e.SetRole(t.Context(), a, id, a.UserID, store.RoleMember)
				default:
					err = e.Auth.DeleteMe(t.Context(), a, authtest.Password, "")
				}
				if fault.CodeOf(err) == fault.Busy { // as a client would
					continue
				}
				if stayed[i] = fault.CodeOf(err) == fault.LastOwner; err != nil && !stayed[i] {
					t.Errorf("owner %d: %v", i, err)
				}
				return
			}
		})
	}
	wg.Wait()
	left := 0
	if err := e.Store.View(t.Context(), func(r *store.Reader) error {
		members, err := r.Members(id, uuid.Nil, 1000)
		for _, m := range members {
			if m.Role == store.RoleOwner {
				left++
			}
		}
		// Members beside whom nobody is left are none: then the tenant went with its last owner.
		if _, gone := r.Tenant(id); gone == nil && left != 1 {
			t.Errorf("%d owners are left of %d members", left, len(members))
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	if left != 1 {
		t.Errorf("%d owners are left, want 1", left)
	}
}

func TestAnInvitationIsGoodOnceForOneAddress(t *testing.T) {
	t.Parallel()
	for _, fate := range fates {
		e := newEnv(t)
		ada, bob, eve := e.user(t, "ada"), e.user(t, "bob"), e.user(t, "eve")
		id := e.mustCreate(t, ada, "Engines").ID
		e.DB.Unknown(fate...)
		made, err := e.Invite(t.Context(), ada, id, " Bob@example.com", store.RoleAdmin, "")
		if err != nil || made.Email != "bob@example.com" || made.ExpiresAt.Sub(made.CreatedAt) != invitationTTL {
			t.Fatal(made, err)
		}
		page, err := e.Invitations(t.Context(), ada, id, paging.Request{})
		if err != nil || len(page.Items) != 1 || page.Items[0] != made {
			t.Errorf("%+v, %v", page, err)
		}
		tokens := e.inbox(t)
		if len(tokens) != 1 {
			t.Fatalf("mailed %q", tokens)
		}
		_, err = e.Accept(t.Context(), eve, tokens[0])
		authtest.WantCode(t, err, fault.InvalidMailedToken)
		e.DB.Unknown(fate...)
		joined, err := e.Accept(t.Context(), bob, tokens[0])
		if err != nil || joined.ID != id || joined.Role != store.RoleAdmin {
			t.Errorf("%+v, %v", joined, err)
		}
		if me, err := e.Auth.Me(t.Context(), bob); err != nil || !me.EmailVerified {
			t.Errorf("%+v, %v", me, err)
		}
		_, err = e.Accept(t.Context(), bob, tokens[0])
		authtest.WantCode(t, err, fault.InvalidMailedToken)
		_, err = e.Invite(t.Context(), ada, id, "bob@example.com", store.RoleMember, "")
		authtest.WantCode(t, err, fault.AlreadyMember)
	}
}

func TestInvitationsThatAreNoLongerGood(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ada, bob, eve := e.user(t, "ada"), e.user(t, "bob"), e.user(t, "eve")
	id := e.mustCreate(t, ada, "Engines").ID
	e.join(t, ada, id, bob, "bob", store.RoleAdmin)
	invite := func(by auth.Access) (Invitation, string) {
		t.Helper()
		i, err := e.Invite(t.Context(), by, id, "eve@example.com", store.RoleMember, "")
		if err != nil {
			t.Fatal(err)
		}
		return i, e.inbox(t)[0]
	}
	refused := func(token string) {
		t.Helper()
		_, err := e.Accept(t.Context(), eve, token)
		authtest.WantCode(t, err, fault.InvalidMailedToken)
	}
	i, token := invite(ada)
	e.DB.Unknown(storetest.Committed)
	if err := e.Revoke(t.Context(), bob, id, i.ID); err != nil {
		t.Error(err)
	}
	refused(token)
	authtest.WantCode(t, e.Revoke(t.Context(), bob, id, i.ID), fault.NotFound)
	authtest.WantCode(t, e.Revoke(t.Context(), eve, id, i.ID), fault.NotFound)

	_, token = invite(ada)
	e.Clock.Advance(invitationTTL)
	ada = e.Login(t, "ada@example.com")
	bob, eve = e.Login(t, "bob@example.com"), e.Login(t, "eve@example.com")
	refused(token)

	_, token = invite(bob) // who is lowered before it is accepted
	if _, err := e.SetRole(t.Context(), ada, id, bob.UserID, store.RoleMember); err != nil {
		t.Fatal(err)
	}
	refused(token)
	_, token = invite(ada)
	if err := e.Delete(t.Context(), ada, id); err != nil {
		t.Fatal(err)
	}
	refused(token)
	for _, bad := range []string{"", "cdm_", "nonsense"} {
		refused(bad)
	}
}

func TestListsAreBounded(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ada := e.user(t, "ada")
	id := e.mustCreate(t, ada, "Engines").ID
	for i := range auth.MaxTenants - 2 {
		e.mustCreate(t, ada, strconv.Itoa(i))
	}
	_, err := e.Create(t.Context(), ada, "one more", "")
	authtest.WantCode(t, err, fault.LimitReached)
	for i := range maxInvitations {
		if _, err := e.Invite(t.Context(), ada, id, fmt.Sprintf("u%d@example.com", i), store.RoleMember, ""); err != nil {
			t.Fatal(err)
		}
		e.Clock.Advance(15 * time.Minute) // the longest that who invites many waits
	}
	_, err = e.Invite(t.Context(), ada, id, "one@more.example", store.RoleMember, "")
	authtest.WantCode(t, err, fault.LimitReached)
	seen := map[uuid.UUID]bool{}
	for cursor := ""; ; {
		page, err := e.List(t.Context(), ada, paging.Request{Limit: 7, Cursor: cursor})
		if err != nil {
			t.Fatal(err)
		}
		for _, tenant := range page.Items {
			seen[tenant.ID] = true
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if len(seen) != auth.MaxTenants {
		t.Errorf("pages hold %d tenants", len(seen))
	}
	if err := e.Auth.DeleteMe(t.Context(), ada, authtest.Password, ""); err != nil {
		t.Errorf("deleting the owner of %d tenants: %v", auth.MaxTenants, err)
	}
}

// Nobody sends mail to strangers without end, from however many tenants.
func TestInvitingManyIsSlowedDown(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ada, bob := e.user(t, "ada"), e.user(t, "bob")
	id, other := e.mustCreate(t, ada, "Engines").ID, e.mustCreate(t, ada, "Mills").ID
	e.join(t, ada, id, bob, "bob", store.RoleAdmin)
	invite := func(by auth.Access, in uuid.UUID, n int) error {
		_, err := e.Invite(t.Context(), by, in, fmt.Sprintf("u%d@example.com", n), store.RoleMember, "")
		return err
	}
	sent := 1 // to bob
	for ; sent < 200; sent++ {
		if sent%3 == 0 {
			e.DB.Unknown(storetest.Committed, storetest.Lost) // which counts once, as any other
		}
		err := invite(ada, []uuid.UUID{id, other}[sent%2], sent)
		if fault.CodeOf(err) == fault.TooManyAttempts {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if sent != 50 {
		t.Errorf("slowed down after %d", sent)
	}
	if err := invite(bob, id, 1000); err != nil {
		t.Errorf("another admin: %v", err)
	}
	e.Clock.Advance(2 * time.Second)
	if err := invite(ada, id, 1001); err != nil {
		t.Errorf("after the pause: %v", err)
	}
}

// A stolen token is not enough to end a tenant with all that is in it.
func TestDeletingATenantAsksForARecentProof(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ada := e.user(t, "ada")
	id := e.mustCreate(t, ada, "Engines").ID
	e.Clock.Advance(auth.RecentFor)
	authtest.WantCode(t, e.Delete(t.Context(), ada, id), fault.StepUpRequired)
	if _, err := e.Auth.StepUp(t.Context(), ada, auth.StepUpForm{Password: authtest.Password}); err != nil {
		t.Fatal(err)
	}
	if err := e.Delete(t.Context(), ada, id); err != nil {
		t.Error(err)
	}
}

// A name stands in letters to strangers: it stays on its line, and in its direction.
func TestNamesDoNotMislead(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ada := e.user(t, "ada")
	for _, name := range []string{"", "a\nb", "a\u2028b", "a\u2029b", "gro.live\u202e", "\u2066a", "a\u0085b", strings.Repeat("x", 201)} {
		_, err := e.Create(t.Context(), ada, name, "")
		authtest.WantCode(t, err, fault.ValidationFailed)
	}
	e.mustCreate(t, ada, "Ada’s 👩‍💻 — אדה")
}
