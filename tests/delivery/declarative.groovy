// Checks the structure of declarative Jenkinsfiles without Jenkins: prints "FILE:LINE: FAULT" for each fault that Jenkins
// would report when a build starts, and exits with code 1 if there are any. The files are parsed, but not run.
//
//   java -cp 'GROOVY_JARS/*' groovy.ui.GroovyMain declarative.groovy FILE...
//
// Only names in the tables below are allowed. To use further plugins, add their names to the tables.
import groovy.transform.Field
import org.codehaus.groovy.ast.CodeVisitorSupport
import org.codehaus.groovy.ast.expr.*
import org.codehaus.groovy.ast.stmt.*
import org.codehaus.groovy.control.CompilationFailedException
import org.codehaus.groovy.control.CompilationUnit
import org.codehaus.groovy.control.CompilerConfiguration
import org.codehaus.groovy.control.Phases

// per block: the allowed names
@Field final Map<String, List<String>> BLOCKS = [
    pipeline: ['agent', 'environment', 'options', 'parameters', 'post', 'stages', 'triggers'],
    stage: ['agent', 'environment', 'failFast', 'options', 'parallel', 'post', 'stages', 'steps', 'when'],
    stages: ['stage'],
    parallel: ['stage'],
    agent: ['docker', 'label'],
    post: ['aborted', 'always', 'changed', 'cleanup', 'failure', 'fixed', 'regression', 'success', 'unstable',
           'unsuccessful'],
    options: ['ansiColor', 'buildDiscarder', 'checkoutToSubdirectory', 'disableConcurrentBuilds', 'disableResume',
              'durabilityHint', 'lock', 'newContainerPerStage', 'parallelsAlwaysFailFast', 'preserveStashes',
              'quietPeriod', 'retry', 'skipDefaultCheckout', 'skipStagesAfterUnstable', 'timeout', 'timestamps'],
    parameters: ['booleanParam', 'choice', 'string', 'text'],
    triggers: ['cron', 'githubPush', 'pollSCM', 'upstream'],
    when: ['allOf', 'anyOf', 'beforeAgent', 'beforeInput', 'beforeOptions', 'branch', 'buildingTag', 'changeRequest',
           'changelog', 'changeset', 'environment', 'equals', 'expression', 'not', 'tag', 'triggeredBy'],
]
// names that a block can contain more than once
@Field final List<String> REPEATABLE = ['booleanParam', 'choice', 'environment', 'lock', 'stage', 'string', 'text']

// per step: its named arguments; the first is the one that can be given without a name
@Field final Map<String, List<String>> STEPS = [
    archiveArtifacts: ['artifacts', 'allowEmptyArchive', 'fingerprint'],
    checkout: ['scm'],
    cleanWs: [],
    deleteDir: [],
    dir: ['path'],
    echo: ['message'],
    error: ['message'],
    junit: ['testResults', 'allowEmptyResults'],
    lock: ['resource', 'label', 'quantity'],
    mail: ['body', 'to', 'subject', 'cc', 'from', 'mimeType', 'replyTo'],
    retry: ['count'],
    script: [],
    sh: ['script', 'encoding', 'label', 'returnStatus', 'returnStdout'],
    sleep: ['time', 'unit'],
    stash: ['name', 'includes', 'excludes'],
    timeout: ['time', 'unit', 'activity'],
    unstable: ['message'],
    unstash: ['name'],
    withCredentials: ['bindings'],
    withEnv: ['overrides'],
]
@Field final List<String> STEPS_WITH_BODY = ['dir', 'lock', 'retry', 'script', 'timeout', 'withCredentials', 'withEnv']

// per credential: the arguments that it needs
@Field final Map<String, List<String>> CREDENTIALS = [
    file: ['credentialsId', 'variable'],
    sshUserPrivateKey: ['credentialsId', 'keyFileVariable'],
    string: ['credentialsId', 'variable'],
    usernamePassword: ['credentialsId', 'passwordVariable', 'usernameVariable'],
]

@Field String file
@Field List<String> faults = []
@Field Set<String> parameters
@Field Set<String> stageNames

void fault(node, String text) {
    faults << "${file}:${node.lineNumber}: ${text}".toString()
}

List<Expression> argumentsOf(MethodCallExpression call) {
    // arguments with names come as one map: `f(a: 1)` is a TupleExpression, `f(a: 1) { }` has a MapExpression
    call.arguments.expressions.collect { it }
}

ClosureExpression bodyOf(MethodCallExpression call) {
    List<Expression> arguments = argumentsOf(call)
    arguments && arguments.last() instanceof ClosureExpression ? arguments.last() : null
}

Map<String, Expression> namedArguments(MethodCallExpression call) {
    argumentsOf(call).findAll { it instanceof MapExpression }*.mapEntryExpressions.flatten()
        .collectEntries { [it.keyExpression.text, it.valueExpression] }
}

List<Expression> plainArguments(MethodCallExpression call) {
    argumentsOf(call).findAll { !(it instanceof MapExpression || it instanceof ClosureExpression) }
}

// Returns the statements of a block as calls. Reports statements that are not calls.
List<MethodCallExpression> callsIn(ClosureExpression body, String block) {
    body.code.statements.findResults { statement ->
        Expression expression = statement instanceof ExpressionStatement ? statement.expression : null
        if (expression instanceof MethodCallExpression && expression.implicitThis) {
            return expression
        }
        fault(statement, "'${block}' contains a statement that is not allowed here")
        null
    }
}

// Checks a block that has a list of allowed names, and returns its calls by name.
Map<String, List<MethodCallExpression>> checkNames(ClosureExpression body, String block) {
    List<MethodCallExpression> calls = callsIn(body, block)
    if (!body.code.statements) {
        fault(body, "'${block}' is empty")
    }
    calls.each {
        String name = it.methodAsString
        if (!(name in BLOCKS[block])) {
            fault(it, "'${name}' is not allowed in '${block}'")
        }
    }
    Map<String, List<MethodCallExpression>> byName = calls.groupBy { it.methodAsString }
    byName.each { name, same ->
        if (same.size() > 1 && !(name in REPEATABLE)) {
            fault(same[1], "'${name}' is in '${block}' more than once")
        }
    }
    byName
}

void checkPipeline(MethodCallExpression pipeline) {
    ClosureExpression body = bodyOf(pipeline)
    if (!body) {
        fault(pipeline, "'pipeline' has no block")
        return
    }
    Map<String, List<MethodCallExpression>> calls = checkNames(body, 'pipeline')
    ['agent', 'stages'].each {
        if (!(it in calls.keySet())) {
            fault(pipeline, "'pipeline' has no '${it}'")
        }
    }
    checkReferences(pipeline)
    calls.values().flatten().each { checkSection(it) }
    if (calls.agent && plainArguments(calls.agent[0])*.text == ['none']) {
        calls.stages?.each { stages -> callsIn(bodyOf(stages), 'stages').each { checkHasAgent(it) } }
    }
}

void checkSection(MethodCallExpression section) {
    String name = section.methodAsString
    ClosureExpression body = bodyOf(section)
    if (name == 'agent') {
        checkAgent(section)
    } else if (name == 'failFast') {
        if (!(plainArguments(section)*.text in [['true'], ['false']])) {
            fault(section, "'failFast' is not true or false")
        }
    } else if (!body) {
        fault(section, "'${name}' has no block")
    } else if (name == 'environment') {
        checkEnvironment(body)
    } else if (name in ['stages', 'parallel']) {
        checkNames(body, name).stage?.each { checkStage(it) }
    } else if (name == 'steps') {
        checkSteps(body, name)
    } else if (name == 'post') {
        checkNames(body, name).values().flatten().each {
            bodyOf(it) ? checkSteps(bodyOf(it), it.methodAsString) : fault(it, "'${it.methodAsString}' has no block")
        }
    } else if (name == 'when') {
        checkWhen(body, name)
    } else if (name == 'parameters') {
        checkNames(body, name).values().flatten().each {
            if (!namedArguments(it).name) {
                fault(it, "the parameter has no name")
            }
        }
    } else if (name in BLOCKS.keySet()) {
        checkNames(body, name)
    }
}

void checkAgent(MethodCallExpression agent) {
    ClosureExpression body = bodyOf(agent)
    if (!body) {
        if (!(plainArguments(agent)*.text in [['any'], ['none']])) {
            fault(agent, "'agent' is not any, none or a block")
        }
    } else if (checkNames(body, 'agent').size() > 1) {
        fault(agent, "'agent' has more than one kind")
    }
}

void checkEnvironment(ClosureExpression body) {
    if (!body.code.statements) {
        fault(body, "'environment' is empty")
    }
    body.code.statements.each {
        Expression expression = it instanceof ExpressionStatement ? it.expression : null
        boolean assigns = expression instanceof BinaryExpression && expression.operation.text == '=' &&
            expression.leftExpression instanceof VariableExpression
        if (!assigns) {
            fault(it, "'environment' contains a statement that is not NAME = value")
        } else if (!(expression.rightExpression instanceof ConstantExpression && expression.rightExpression.value instanceof String
                || expression.rightExpression instanceof GStringExpression
                || expression.rightExpression instanceof MethodCallExpression)) {
            fault(it, "the value of ${expression.leftExpression.name} is not a string or a call")
        }
    }
}

void checkStage(MethodCallExpression stage) {
    List<Expression> names = plainArguments(stage)
    ClosureExpression body = bodyOf(stage)
    if (names.size() != 1 || !(names[0] instanceof ConstantExpression) || !(names[0].value instanceof String)) {
        fault(stage, "the name of the stage is not a string")
    } else if (!stageNames.add(names[0].value)) {
        fault(stage, "there is more than one stage '${names[0].value}'")
    }
    if (!body) {
        fault(stage, "'stage' has no block")
        return
    }
    Map<String, List<MethodCallExpression>> calls = checkNames(body, 'stage')
    if (['steps', 'stages', 'parallel'].count { it in calls.keySet() } != 1) {
        fault(stage, "'stage' needs exactly one of steps, stages and parallel")
    }
    calls.values().flatten().each { checkSection(it) }
}

// With `agent none`, steps need an agent in their stage or in a stage around it.
void checkHasAgent(MethodCallExpression stage) {
    ClosureExpression body = bodyOf(stage)
    List<MethodCallExpression> calls = body ? body.code.statements*.expression.findAll { it instanceof MethodCallExpression } : []
    if (calls.any { it.methodAsString == 'agent' && plainArguments(it)*.text != ['none'] }) {
        return
    }
    if (calls.any { it.methodAsString == 'steps' }) {
        fault(stage, "the stage has no agent")
    }
    calls.findAll { it.methodAsString in ['stages', 'parallel'] && bodyOf(it) }
        .each { inner -> bodyOf(inner).code.statements*.expression.each { checkHasAgent(it) } }
}

void checkWhen(ClosureExpression body, String block) {
    List<MethodCallExpression> calls = callsIn(body, block)
    if (!body.code.statements) {
        fault(body, "'${block}' is empty")
    }
    calls.each {
        String name = it.methodAsString
        if (!(name in BLOCKS.when)) {
            fault(it, "'${name}' is not allowed in '${block}'")
        } else if (name in ['allOf', 'anyOf', 'not']) {
            bodyOf(it) ? checkWhen(bodyOf(it), name) : fault(it, "'${name}' has no block")
        } else if (name == 'expression') {
            bodyOf(it) ? checkScript(bodyOf(it)) : fault(it, "'${name}' has no block")
        }
    }
}

void checkSteps(ClosureExpression body, String block) {
    if (!body.code.statements) {
        fault(body, "'${block}' is empty")
    }
    callsIn(body, block).each { checkStep(it) }
}

void checkStep(MethodCallExpression step) {
    String name = step.methodAsString
    List<String> known = STEPS[name]
    if (known == null) {
        fault(step, "'${name}' is an unknown step")
        return
    }
    Map<String, Expression> named = namedArguments(step)
    List<Expression> plain = plainArguments(step)
    (named.keySet() - known).each { fault(step, "'${it}' is an unknown argument of '${name}'") }
    if (plain.size() > 1 || plain && !known) {
        fault(step, "'${name}' has too many arguments")
    }
    if (known && !plain && !named[known[0]] && !(name == 'lock' && named.label)) {
        fault(step, "'${name}' has no '${known[0]}'")
    }
    if (name == 'sh' && (plain + named.script).any { isInterpolated(it) }) {
        fault(step, "'sh' interpolates a value: pass it as an environment variable")
    }
    if (name == 'withCredentials') {
        checkCredentials(step, plain ? plain[0] : named.bindings)
    }
    ClosureExpression body = bodyOf(step)
    if ((body != null) != (name in STEPS_WITH_BODY)) {
        fault(step, body ? "'${name}' takes no block" : "'${name}' has no block")
    } else if (name == 'script') {
        checkScript(body)
    } else if (body) {
        checkSteps(body, name)
    }
}

boolean isInterpolated(Expression value) {
    value instanceof GStringExpression ||
        value instanceof BinaryExpression && (isInterpolated(value.leftExpression) || isInterpolated(value.rightExpression) ||
            !(value.leftExpression instanceof ConstantExpression && value.rightExpression instanceof ConstantExpression))
}

void checkCredentials(MethodCallExpression step, Expression bindings) {
    if (!(bindings instanceof ListExpression)) {
        fault(step, "'withCredentials' has no list of credentials")
        return
    }
    bindings.expressions.each {
        List<String> needed = it instanceof MethodCallExpression ? CREDENTIALS[it.methodAsString] : null
        if (!needed) {
            fault(it, "'${it instanceof MethodCallExpression ? it.methodAsString : it.text}' is an unknown credential")
            return
        }
        (needed - namedArguments(it).keySet()).each { name -> fault(it, "'${it.methodAsString}' has no '${name}'") }
    }
}

// Checks the calls in Groovy code: each call without a receiver must be a step.
void checkScript(ClosureExpression body) {
    body.code.visit(new CodeVisitorSupport() {
        @Override
        void visitMethodCallExpression(MethodCallExpression call) {
            if (call.implicitThis) {
                checkStep(call)
            } else {
                super.visitMethodCallExpression(call)
            }
        }
    })
}

// Each `params.NAME` must be a parameter of the pipeline.
void checkReferences(MethodCallExpression pipeline) {
    parameters = []
    callsIn(bodyOf(pipeline), 'pipeline').findAll { it.methodAsString == 'parameters' && bodyOf(it) }.each {
        bodyOf(it).code.statements*.expression.findAll { it instanceof MethodCallExpression }
            .each { parameter -> parameters << namedArguments(parameter).name?.text }
    }
    pipeline.visit(new CodeVisitorSupport() {
        @Override
        void visitPropertyExpression(PropertyExpression property) {
            super.visitPropertyExpression(property)
            if (property.objectExpression.text == 'params' && !(property.propertyAsString in parameters)) {
                fault(property, "'${property.propertyAsString}' is not a parameter of the pipeline")
            }
        }
    })
}

void checkFile(String name) {
    file = name
    stageNames = []
    CompilationUnit unit = new CompilationUnit(new CompilerConfiguration())
    def source = unit.addSource(new File(name))
    try {
        unit.compile(Phases.CONVERSION)
    } catch (CompilationFailedException failed) {
        def cause = failed.hasProperty('errorCollector') ? failed.errorCollector.errors[0].cause : null
        faults << "${file}:${cause?.line ?: 1}: ${(cause?.originalMessage ?: failed.message).readLines()[0]}".toString()
        return
    }
    List<Statement> statements = source.AST.statementBlock.statements
    List<Expression> calls = statements.findResults { it instanceof ExpressionStatement ? it.expression : null }
    boolean isDeclarative = statements.size() == 1 && calls && calls[0] instanceof MethodCallExpression &&
        calls[0].methodAsString == 'pipeline'
    if (isDeclarative) {
        checkPipeline(calls[0])
    } else {
        faults << "${file}:1: the file is not exactly one 'pipeline' block".toString()
    }
}

args.each { checkFile(it) }
faults.unique().each { println it }
System.exit(faults ? 1 : 0)
