module coditect.ai/platform/stacks

go 1.26.0
