"""What a job takes along from this machine: its source, and inputs that are local paths.

Everything here is named by its content, so that it is sent once and equal content gives equal digests.
"""

from lyftlearn._transfer.inputs import hash_input as hash_input
from lyftlearn._transfer.inputs import input_faults as input_faults
from lyftlearn._transfer.inputs import input_size as input_size
from lyftlearn._transfer.inputs import input_uri as input_uri
from lyftlearn._transfer.inputs import upload_input as upload_input
from lyftlearn._transfer.packing import Packed as Packed
from lyftlearn._transfer.packing import pack_source as pack_source
from lyftlearn._transfer.packing import source_faults as source_faults
from lyftlearn._transfer.packing import source_uri as source_uri
from lyftlearn._transfer.packing import upload_source as upload_source
from lyftlearn._transfer.tree import SourceRules as SourceRules
