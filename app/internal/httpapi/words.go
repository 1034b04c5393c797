package httpapi

import (
	"maps"
	"slices"
	"strings"

	"coditect.ai/platform/app/internal/fault"
	"coditect.ai/platform/app/internal/openapi"
)

const apiDoc = `Accounts, tenants and IDE sessions of the Coditect cloud IDE.

A *login* is one signed-in device; a *session* is an IDE workspace. Sign in to get an access token for 15 minutes and a refresh token that renews it, and send the access token as ` + "`Authorization: Bearer …`" + `.

Every answer is an envelope: ` + "`{\"success\": true, \"data\": …}`" + ` or ` + "`{\"success\": false, \"error\": {\"code\", \"message\", \"fields\"}, \"request_id\"}`" + `. Codes are a closed set and agree with the status. Bodies are JSON objects of at most 64 KiB; unknown, repeated and misspelt members are refused. HEAD is answered wherever GET is; a method that a path does not take is answered 405 with ` + "`Allow`" + `. Clients ignore members of answers that they do not know.`

const (
	tagAccount  = "Signing in"
	tagSessions = "Sessions"
	tagService  = "Service"
)

var tags = slices.Concat([]openapi.Tag{
	{Name: tagAccount, Doc: "Accounts, logins and tokens."},
	{Name: tagSessions, Doc: "IDE workspaces: the caller's own, in the token's tenant."},
	{Name: tagService, Doc: "What probes and balancers ask."},
}, accountTags, []openapi.Tag{factorTag})

// descriptions are the words of every route, by method and path below the base.
func descriptions() map[string]about {
	all := accountDescriptions()
	maps.Copy(all, factorDescriptions())
	maps.Copy(all, map[string]about{
		"POST /auth/register": {
			"register", tagAccount, "Create an account",
			"Makes a user with a tenant of their own and signs this device in.",
			[]fault.Code{fault.ValidationFailed, fault.EmailTaken, fault.TooManyAttempts},
		},
		"POST /auth/login": {
			"login", tagAccount, "Sign a device in",
			"An unknown address and a wrong password are answered alike. Without `tenant_id` the token is for the user's own tenant.",
			[]fault.Code{fault.ValidationFailed, fault.InvalidCredentials, fault.TooManyAttempts},
		},
		"POST /auth/refresh": {
			"refresh", tagAccount, "Renew the tokens",
			"Rotates the refresh token. A second use of a spent one within half a minute gets the same successor; a later one revokes the login.",
			[]fault.Code{fault.InvalidToken},
		},
		"POST /auth/logout": {
			"logout", tagAccount, "Sign this device out, or all",
			"Ends the login at once on every replica: its access token stops working with this answer.",
			nil,
		},

		"POST /sessions": {
			"createSession", tagSessions, "Open a session",
			"As many per user as they like. Every member of the body is optional.",
			[]fault.Code{fault.ValidationFailed},
		},
		"GET /sessions": {
			"listSessions", tagSessions, "List the caller's sessions",
			"Newest first, in pages.",
			nil,
		},
		"GET /sessions/{id}": {
			"getSession", tagSessions, "Read a session",
			"One of another user or another tenant is answered as if there were none.",
			nil,
		},
		"DELETE /sessions/{id}": {
			"deleteSession", tagSessions, "Close a session", "", nil,
		},

		"GET /health": {
			"health", tagService, "Does the process serve?",
			"Answers as soon as the process serves, with or without the store.",
			nil,
		},
		"GET /ready": {
			"ready", tagService, "Is it ready for traffic?",
			"Answers 200 only while the store answers in time and takes writes.",
			[]fault.Code{fault.Unavailable},
		},
	})
	return all
}

// words say what the members of bodies mean.
func words() openapi.Words {
	type schema = map[string]any
	const day = "2026-01-31T12:00:00Z"
	const id = "0198f2c4-8a52-7b6e-9d3e-2f4a6c8e0b1d"
	w := openapi.Words{
		Required: map[string][]string{
			"RegisterRequest": {"email", "password", "first_name", "last_name"},
			"LoginRequest":    {"email", "password"},
			"RefreshRequest":  {"refresh_token"},
		},
		Members: map[string]openapi.Member{
			// Accounts.
			"email":                  {Doc: "Compared trimmed, in lower case and composed (NFC).", Example: "ada@example.com"},
			"User.email":             {Doc: "In its normal form.", Schema: schema{"format": "email"}},
			"password":               {Doc: "8 to 128 characters of any kind, and none of the commonest passwords.", Schema: schema{"format": "password", "maxLength": 128}, Example: "correct horse battery staple"},
			"first_name":             {Schema: schema{"maxLength": 100}, Example: "Ada"},
			"last_name":              {Schema: schema{"maxLength": 100}, Example: "Lovelace"},
			"company":                {Doc: "Names the user's own tenant, where it is given.", Example: "Analytical Engines"},
			"device":                 {Doc: "A label for this login in the list of devices.", Example: "laptop"},
			"email_verified":         {Doc: "The user has shown that the address is theirs."},
			"user":                   {},
			"tenant_id":              {Doc: "The tenant that something belongs to or a token is for.", Schema: schema{"format": "uuid"}},
			"LoginRequest.tenant_id": {Doc: "The tenant to sign in to; the user's own unless told.", Schema: schema{"format": "uuid"}},
			"tenants":                {Doc: "Those that the user belongs to."},
			"role":                   {Doc: "The user's in the tenant.", Schema: schema{"enum": []string{"owner", "admin", "member"}}, Example: "member"},
			"self":                   {Doc: "The user's own tenant, which came with the registration."},
			"tokens":                 {},
			"access_token":           {Doc: "Signs requests. A JWT, opaque to clients."},
			"refresh_token":          {Doc: "Renews the tokens, once.", Example: "cdr_" + strings.Repeat("A", 43)},
			"token_type":             {Schema: schema{"const": "Bearer"}},
			"expires_in":             {Doc: "Seconds that the access token lives."},
			"refresh_expires_at":     {Doc: "When the refresh token stops working, unused."},
			"everywhere":             {Doc: "All of the user's logins, not this one alone.", Example: false},
			"signed_out":             {Schema: schema{"const": true}},
			"id":                     {Example: id},
			"user_id":                {},
			"created_at":             {Example: day},
			"updated_at":             {Example: day},

			// Sessions.
			"name":           {Schema: schema{"maxLength": 200}, Example: "engine"},
			"workspace_path": {Doc: "At most 1024 bytes.", Example: "/home/ada/engine"},
			"metadata":       {Doc: "An object of the client's own, at most 16 KiB.", Schema: schema{"type": "object"}, Example: schema{"tabs": []string{"main.go"}}},
			"last_active_at": {Example: day},
			"deleted":        {Schema: schema{"const": true}},

			// The service.
			"service": {Example: "coditect-v5-api"},
			"status":  {Example: "healthy"},

			// Envelopes.
			"next_cursor":     {Doc: "The `cursor` of the next page; null after the last."},
			"Failure.success": {Schema: schema{"const": false}},
			"error":           {},
			"code":            {Doc: "What went wrong, for programs."},
			"message":         {Doc: "What went wrong, for people."},
			"fields":          {Doc: "What to mend."},
			"field":           {Doc: "The path of the member, or the name of the parameter or header."},
			"problem":         {Doc: "A clause in plain words."},
			"request_id":      {Doc: "Tell it to support: the cause is in the log under it."},
		},
	}
	maps.Copy(w.Members, accountMembers())
	maps.Copy(w.Members, factorMembers())
	maps.Copy(w.Required, factorRequired())
	return w
}
