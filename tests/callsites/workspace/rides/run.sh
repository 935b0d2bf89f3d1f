#!/bin/sh
echo "ran by its own name with <$1>"
