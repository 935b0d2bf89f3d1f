output "configuration" {
  description = "What lyftlearn.toml needs of this."
  value       = <<-TOML
    [storage]
    url = "s3://${var.bucket}/lyftlearn"

    [sagemaker]
    region = "${split(":", aws_sqs_queue.events.arn)[3]}"
    role = "${aws_iam_role.jobs.arn}"
    events = "${aws_sqs_queue.events.url}"
  TOML
}

output "submitter_policy_arn" {
  description = "The policy of those who submit and follow jobs."
  value       = aws_iam_policy.submitter.arn
}
