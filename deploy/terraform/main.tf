# What lyftlearn needs of an AWS account: docs/how-to/sagemaker.md says what each part is for.
data "aws_caller_identity" "current" {}

locals {
  values = {
    account      = data.aws_caller_identity.current.account_id
    bucket       = var.bucket
    job_role_arn = aws_iam_role.jobs.arn
    queue        = var.name
    queue_arn    = aws_sqs_queue.events.arn
    rule_arn     = aws_cloudwatch_event_rule.events.arn
  }
}

# For those who submit and follow jobs: attach it to their roles.
resource "aws_iam_policy" "submitter" {
  name   = "${var.name}-submitter"
  policy = templatefile("${path.module}/policies/submitter.json", local.values)
}

# The role of the jobs: [sagemaker] role.
resource "aws_iam_role" "jobs" {
  name               = var.name
  assume_role_policy = file("${path.module}/policies/trust.json")
}

resource "aws_iam_role_policy" "jobs" {
  name   = "jobs"
  role   = aws_iam_role.jobs.id
  policy = templatefile("${path.module}/policies/jobs.json", local.values)
}

resource "aws_iam_role_policy" "notebooks" {
  count  = var.notebooks ? 1 : 0
  name   = "notebooks"
  role   = aws_iam_role.jobs.id
  policy = file("${path.module}/policies/notebooks.json")
}

resource "aws_iam_role_policy" "secrets" {
  count = length(var.secrets) > 0 ? 1 : 0
  name  = "secrets"
  role  = aws_iam_role.jobs.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = ["secretsmanager:GetSecretValue"]
      Resource = var.secrets
      }, {
      Effect   = "Allow"
      Action   = ["secretsmanager:BatchGetSecretValue"]
      Resource = ["*"]
    }]
  })
}

# The queue of events: [sagemaker] events.
resource "aws_sqs_queue" "events" {
  name                       = var.name
  visibility_timeout_seconds = 5
  message_retention_seconds  = 3600
}

resource "aws_sqs_queue_policy" "events" {
  queue_url = aws_sqs_queue.events.id
  policy    = templatefile("${path.module}/policies/queue.json", local.values)
}

resource "aws_cloudwatch_event_rule" "events" {
  name          = var.name
  event_pattern = file("${path.module}/policies/event-pattern.json")
}

resource "aws_cloudwatch_event_target" "events" {
  rule      = aws_cloudwatch_event_rule.events.name
  target_id = "queue"
  arn       = aws_sqs_queue.events.arn
}
