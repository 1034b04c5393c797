module coditect.ai/platform/infra

go 1.26.0

require (
	coditect.ai/platform/app v0.0.0
	coditect.ai/platform/stacks v0.0.0
)

replace (
	coditect.ai/platform/app => ../app
	coditect.ai/platform/stacks => ../stacks
)
