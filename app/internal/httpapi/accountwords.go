package httpapi

import (
	"coditect.ai/platform/app/internal/fault"
	"coditect.ai/platform/app/internal/openapi"
)

const (
	tagUsers   = "Users"
	tagTenants = "Tenants"
)

// accountTags are the groups of accounts and tenants.
var accountTags = []openapi.Tag{
	{Name: tagUsers, Doc: "The caller's own account."},
	{Name: tagTenants, Doc: "Tenants and who belongs to them. To who is no member a tenant does not exist."},
}

// accountDescriptions are the words of the routes of accounts and tenants.
func accountDescriptions() map[string]about {
	const (
		validation = fault.ValidationFailed
		forbidden  = fault.Forbidden
		mailed     = fault.InvalidMailedToken
		attempts   = fault.TooManyAttempts
	)
	type codes = []fault.Code
	return map[string]about{
		"GET /users/me":           {"getMe", tagUsers, "Read the caller's account", "", nil},
		"PATCH /users/me":         {"updateMe", tagUsers, "Change the caller's account", "Members that are absent stay as they are.", codes{validation}},
		"DELETE /users/me":        {"deleteMe", tagUsers, "Delete the caller's account", "Needs the password, and with a second factor a recent proof of it. The account, its logins and its tenants without other members are gone with the answer; sessions, audit trails and the like are removed within minutes.", codes{validation, attempts, fault.LastOwner, fault.StepUpRequired}},
		"GET /users/me/export":    {"exportMe", tagUsers, "Export everything that is the caller's", "In pages: the first has the account with its tenants and second factors; the logins come before the sessions.", nil},
		"POST /users/me/password": {"changePassword", tagUsers, "Change the password", "Signs every other device out.", codes{validation, attempts}},

		"POST /auth/password/forgot": {"forgotPassword", tagAccount, "Ask for a mail to reset the password", "The answer does not tell whether there is such an account. An address gets one mail a minute at most.", codes{validation, attempts}},
		"POST /auth/password/reset":  {"resetPassword", tagAccount, "Set a new password with a mailed token", "Signs every device out. The token is good once, for an hour.", codes{validation, mailed}},
		"POST /auth/email/verify":    {"verifyEmail", tagAccount, "Confirm an address with a mailed token", "", codes{mailed}},
		"GET /auth/logins":           {"listLogins", tagAccount, "List the caller's signed-in devices", "Newest first.", nil},
		"DELETE /auth/logins/{id}":   {"revokeLogin", tagAccount, "Sign one of the caller's devices out", "", nil},
		"POST /auth/token":           {"switchTenant", tagAccount, "Get tokens for another tenant", "Opens another login on this device, for a tenant that the caller belongs to.", codes{fault.NotFound}},
		"GET /.well-known/jwks.json": {"keySet", tagService, "Read the public keys that verify access tokens", "Empty while tokens are signed with a shared secret. The body is an RFC 7517 key set, without an envelope.", nil},

		"PATCH /sessions/{id}": {"updateSession", tagSessions, "Change or touch a session", "Members that are absent stay as they are. Every call moves `last_active_at`.", codes{validation}},

		"GET /tenants":                                     {"listTenants", tagTenants, "List the caller's tenants", "", nil},
		"POST /tenants":                                    {"createTenant", tagTenants, "Create a tenant", "The caller becomes its owner.", codes{validation, fault.LimitReached}},
		"GET /tenants/{id}":                                {"getTenant", tagTenants, "Read a tenant", "", nil},
		"PATCH /tenants/{id}":                              {"renameTenant", tagTenants, "Rename a tenant", "For owners.", codes{validation, forbidden}},
		"DELETE /tenants/{id}":                             {"deleteTenant", tagTenants, "Delete a tenant", "For owners, with a recent proof of who they are. It is gone for every member with the answer. A user's own tenant stays.", codes{forbidden, fault.SelfTenant, fault.StepUpRequired}},
		"GET /tenants/{id}/members":                        {"listMembers", tagTenants, "List a tenant's members", "", nil},
		"PATCH /tenants/{id}/members/{user_id}":            {"setRole", tagTenants, "Give a member another role", "For admins; only an owner grants or takes the owner role. It counts at the member's next request.", codes{validation, forbidden, fault.LastOwner, fault.SelfTenant}},
		"DELETE /tenants/{id}/members/{user_id}":           {"removeMember", tagTenants, "Remove a member, or leave", "For admins, and for everybody about themselves.", codes{forbidden, fault.LastOwner, fault.SelfTenant}},
		"GET /tenants/{id}/invitations":                    {"listInvitations", tagTenants, "List a tenant's open invitations", "For admins. Newest first.", codes{forbidden}},
		"POST /tenants/{id}/invitations":                   {"createInvitation", tagTenants, "Invite somebody by mail", "For admins; only an owner invites owners. The token is in the mail alone, good once, for seven days, and for this address.", codes{validation, forbidden, fault.AlreadyMember, fault.LimitReached, attempts}},
		"DELETE /tenants/{id}/invitations/{invitation_id}": {"revokeInvitation", tagTenants, "Take an invitation back", "", codes{forbidden}},
		"POST /invitations/accept":                         {"acceptInvitation", tagTenants, "Accept an invitation", "For who is signed in with the address that it was mailed to.", codes{mailed, fault.LimitReached}},
		"GET /tenants/{id}/audit":                          {"listAudit", tagTenants, "Read a tenant's audit trail", "For admins. Newest first; kept for a year.", codes{forbidden}},
	}
}

// accountMembers say what the members of those routes' bodies mean.
func accountMembers() map[string]openapi.Member {
	type schema = map[string]any
	password := schema{"format": "password", "maxLength": 128}
	role := openapi.Member{Doc: "To give.", Schema: schema{"enum": []string{"owner", "admin", "member"}}, Example: "member"}
	return map[string]openapi.Member{
		"RoleRequest.role":       role,
		"InvitationRequest.role": role,
		"current_password":       {Schema: password, Example: "correct horse battery staple"},
		"new_password":           {Schema: password, Example: "another horse, another staple"},
		"token":                  {Doc: "From the link in the mail.", Example: "cdm_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
		"done":                   {Schema: schema{"const": true}},
		"address":                {Doc: "Where the device signed in from."},
		"current":                {Doc: "The login that asks."},
		"last_used_at":           {Example: "2026-01-31T12:00:00Z"},
		"expires_at":             {Example: "2026-02-07T12:00:00Z"},
		"logins":                 {},
		"sessions":               {},
		"invited_by":             {Doc: "The user who sent it."},
		"at":                     {Example: "2026-01-31T12:00:00Z"},
		"actor_id":               {Doc: "The user who did it."},
		"action":                 {Example: "member.removed"},
		"subject_id":             {Doc: "What it was done to."},
		"detail":                 {Doc: "More about it, by name."},
		"keys":                   {},
		"kty":                    {Example: "OKP"},
		"crv":                    {Example: "Ed25519"},
		"x":                      {},
		"y":                      {},
		"kid":                    {},
		"use":                    {Schema: schema{"const": "sig"}},
		"alg":                    {Example: "EdDSA"},
	}
}
