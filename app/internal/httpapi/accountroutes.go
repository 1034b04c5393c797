package httpapi

import (
	"context"
	"net/http"
	"reflect"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/store"
)

// pageQuery are the parameters of every list.
func pageQuery() []Param {
	return []Param{
		{Name: "limit", Type: "integer", Doc: "Items in the answer at the most, 1 to 200; 50 unless told. Where they are large there are fewer: the cursor alone says whether more follow."},
		{Name: "cursor", Type: "string", Doc: "next_cursor of the page before."},
	}
}

// accountRoutes are the rows of accounts, logins and mailed tokens.
func accountRoutes() []Route {
	const base = contract.BasePath
	const ok = http.StatusOK
	get, post, patch, del := http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete
	return []Route{
		answers(Route{Method: get, Path: base + "/users/me", SignedIn: true, Status: ok}, getMe),
		takes(Route{Method: patch, Path: base + "/users/me", SignedIn: true, Status: ok}, updateMe),
		takes(Route{Method: del, Path: base + "/users/me", SignedIn: true, Status: ok}, deleteMe),
		answers(Route{Method: get, Path: base + "/users/me/export", SignedIn: true, Status: ok, Large: true, Query: pageQuery()[1:]}, exportMe),
		takes(Route{Method: post, Path: base + "/users/me/password", SignedIn: true, Status: ok}, changePassword),

		takes(Route{Method: post, Path: base + "/auth/password/forgot", Status: http.StatusAccepted}, forgotPassword),
		takes(Route{Method: post, Path: base + "/auth/password/reset", Status: ok}, resetPassword),
		takes(Route{Method: post, Path: base + "/auth/email/verify", Status: ok}, verifyEmail),
		lists(Route{Method: get, Path: base + "/auth/logins", SignedIn: true, Status: ok, Query: pageQuery()}, listLogins),
		answers(Route{Method: del, Path: base + "/auth/logins/{id}", SignedIn: true, Status: ok}, revokeLogin),
		takes(Route{Method: post, Path: base + "/auth/token", SignedIn: true, Status: ok}, switchTenant),

		bare(Route{Method: get, Path: contract.KeySetPath, Status: ok}, keySet),
	}
}

// tenantRoutes are the rows of tenants and who belongs to them.
func tenantRoutes() []Route {
	const base = contract.BasePath + "/tenants"
	const ok, created = http.StatusOK, http.StatusCreated
	const member, admin, owner = string(store.RoleMember), string(store.RoleAdmin), string(store.RoleOwner)
	get, post, patch, del := http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete
	return []Route{
		lists(Route{Method: get, Path: base, SignedIn: true, Status: ok, Query: pageQuery()}, listTenants),
		takes(Route{Method: post, Path: base, SignedIn: true, Status: created, Once: true}, createTenant),
		answers(Route{Method: get, Path: base + "/{id}", SignedIn: true, Role: member, Status: ok}, getTenant),
		takes(Route{Method: patch, Path: base + "/{id}", SignedIn: true, Role: owner, Status: ok}, renameTenant),
		answers(Route{Method: del, Path: base + "/{id}", SignedIn: true, Role: owner, Status: ok}, deleteTenant),

		lists(Route{Method: get, Path: base + "/{id}/members", SignedIn: true, Role: member, Status: ok, Query: pageQuery()}, listMembers),
		takes(Route{Method: patch, Path: base + "/{id}/members/{user_id}", SignedIn: true, Role: admin, Status: ok}, setRole),
		answers(Route{Method: del, Path: base + "/{id}/members/{user_id}", SignedIn: true, Role: admin, Status: ok}, removeMember),

		lists(Route{Method: get, Path: base + "/{id}/invitations", SignedIn: true, Role: admin, Status: ok, Query: pageQuery()}, listInvitations),
		takes(Route{Method: post, Path: base + "/{id}/invitations", SignedIn: true, Role: admin, Status: created, Once: true}, createInvitation),
		answers(Route{Method: del, Path: base + "/{id}/invitations/{invitation_id}", SignedIn: true, Role: admin, Status: ok}, revokeInvitation),
		takes(Route{Method: post, Path: contract.BasePath + "/invitations/accept", SignedIn: true, Status: ok}, acceptInvitation),

		lists(Route{Method: get, Path: base + "/{id}/audit", SignedIn: true, Role: admin, Status: ok, Query: pageQuery()}, listAudit),
	}
}

// bare completes a route whose answer follows a standard of its own and so has no envelope.
func bare[Out any](route Route, handle func(context.Context, *call) (Out, error)) Route {
	route.Bare, route.Answer = true, reflect.TypeFor[Out]()
	route.run = func(ctx context.Context, c *call) ([]byte, error) {
		out, err := handle(ctx, c)
		if err != nil {
			return nil, err
		}
		return encode(out)
	}
	return route
}
