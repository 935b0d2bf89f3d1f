"""What jobs themselves are allowed to do: the actions of the roles that `[sagemaker] role` and `tune.role` name."""

from __future__ import annotations

JOB_ACTIONS = (
    "s3:GetObject",
    "s3:PutObject",
    "s3:ListBucket",
    "s3:AbortMultipartUpload",
    "logs:CreateLogGroup",
    "logs:CreateLogStream",
    "logs:DescribeLogStreams",
    "logs:PutLogEvents",
    "cloudwatch:PutMetricData",
    "ecr:GetAuthorizationToken",
    "ecr:BatchCheckLayerAvailability",
    "ecr:GetDownloadUrlForLayer",
    "ecr:BatchGetImage",
)
"""For channels, artifacts, logs, metrics and images; what a job's own code does comes on top."""
NOTEBOOK_ACTIONS = (
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
)
"""For the session that forwards a notebook's port; from the guide to remote debugging of training jobs."""
DRIVER_JOB_ACTIONS = (
    "sagemaker:AddTags",
    "sagemaker:CreateTrainingJob",
    "sagemaker:DescribeTrainingJob",
    "sagemaker:StopTrainingJob",
)
DRIVER_LIST_ACTIONS = ("sagemaker:ListTrainingJobs", "sagemaker:Search")
DRIVER_LOG_ACTIONS = ("logs:DescribeLogStreams", "logs:GetLogEvents")
DRIVER_ROLE_ACTIONS = ("iam:PassRole",)
"""Beyond those of every job: what the driver of a search needs to submit its trials, to follow and to read them."""
