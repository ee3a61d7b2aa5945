# Not built where it was written: no container engine runs there. tests/deploy/test_images.py checks what can be read.
#
# The launcher of the Flex Template: the CPU worker with Dataflow's launcher program. It lists the inputs, builds the job
# graph and ends; it has no CUDA. Build after the CPU worker, whose image is the argument.
ARG CPU_WORKER
FROM gcr.io/dataflow-templates-base/python311-template-launcher-base:latest AS launcher

FROM ${CPU_WORKER}
COPY --from=launcher /opt/google/dataflow/python_template_launcher /opt/google/dataflow/python_template_launcher
COPY deploy/template/launch.py launch.py
ENV FLEX_TEMPLATE_PYTHON_PY_FILE=/opt/q1net/launch.py

ENTRYPOINT ["/opt/google/dataflow/python_template_launcher"]
