package httpapi

//go:generate go run ./describe ../../../docs/openapi.json
